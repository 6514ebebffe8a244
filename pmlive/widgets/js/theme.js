// The colours of charts and tables, as the page's theme has them.

const LIGHT = { bid: "#0f8a6d", ask: "#cf3f55", mid: "#3267c8", band: "rgba(50, 103, 200, 0.10)", doubt: "#e9e9e9" };
const DARK = { bid: "#3ecf9f", ask: "#ff7183", mid: "#82adff", band: "rgba(130, 173, 255, 0.14)", doubt: "#2b2b2b" };

const SYSTEM = matchMedia("(prefers-color-scheme: dark)");

// Says it as JupyterLab, VS Code or marimo do, or as the system does where the page says nothing.
function isDark() {
  const { jpThemeLight, vscodeThemeKind, theme } = document.body.dataset;
  if (jpThemeLight !== undefined) return jpThemeLight === "false";
  if (vscodeThemeKind !== undefined) return /dark|high-contrast$/.test(vscodeThemeKind);
  if (theme !== undefined) return theme === "dark";
  return SYSTEM.matches;
}

function colours(el) {
  const style = getComputedStyle(el);
  const dark = isDark();
  const themed = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return {
    ...(dark ? DARK : LIGHT),
    text: themed("--jp-ui-font-color1", dark ? "#e0e0e0" : "#222222"),
    quiet: themed("--jp-ui-font-color2", dark ? "#9e9e9e" : "#616161"),
    ground: themed("--jp-layout-color0", dark ? "#111111" : "#ffffff"),
    grid: dark ? "rgba(255, 255, 255, 0.10)" : "rgba(0, 0, 0, 0.08)",
    gap: dark ? "rgba(255, 167, 38, 0.28)" : "rgba(245, 140, 0, 0.22)",
  };
}

// Calls `changed` when the page gets another theme, and gives the way to end that.
function onTheme(changed) {
  const sight = new MutationObserver(changed);
  const attributeFilter = ["data-jp-theme-light", "data-vscode-theme-kind", "data-theme"];
  sight.observe(document.body, { attributes: true, attributeFilter });
  SYSTEM.addEventListener("change", changed);
  return () => {
    sight.disconnect();
    SYSTEM.removeEventListener("change", changed);
  };
}
