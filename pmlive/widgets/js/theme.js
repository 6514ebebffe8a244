// The colours of charts and tables, as the page's theme has them. PALETTE is put before this script.

function isDark() {
  const { jpThemeLight, vscodeThemeKind } = document.body.dataset;
  return jpThemeLight === "false" || /dark|high-contrast$/.test(vscodeThemeKind || "");
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
  sight.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-vscode-theme-kind"] });
  return () => sight.disconnect();
}
