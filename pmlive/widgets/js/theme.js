// The colours of charts and tables, as the page's theme has them. PALETTE is put before this script.

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
  const palette = isDark() ? PALETTE.dark : PALETTE.light;
  const themed = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  return {
    ...palette,
    text: themed("--jp-ui-font-color1", palette.text),
    quiet: themed("--jp-ui-font-color2", palette.quiet),
    ground: themed("--jp-layout-color0", palette.ground),
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
