"use strict";
// Light and dark: the system's choice until the reader presses the switch, which is remembered where that is allowed.
(function () {
  const R = (window.chggenReport = window.chggenReport || {});
  const KEY = "chggen-report-theme";
  const root = document.documentElement;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const button = document.getElementById("theme");

  function remembered() {
    try {
      return window.localStorage.getItem(KEY);
    } catch (error) {
      return null; // storage is switched off
    }
  }

  function remember(theme) {
    try {
      window.localStorage.setItem(KEY, theme);
    } catch (error) {
      return; // storage is switched off: the choice lasts as long as the page
    }
  }

  R.isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";

  function announce() {
    button.setAttribute("aria-pressed", String(R.isDark()));
    document.dispatchEvent(new CustomEvent("themechange"));
  }

  const stored = remembered();
  if (stored === "light" || stored === "dark") {
    root.dataset.theme = stored;
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = R.isDark() ? "light" : "dark";
    remember(root.dataset.theme);
    announce();
  });
  system.addEventListener("change", announce);
  announce();
})();
