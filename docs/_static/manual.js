// What the theme leaves out for keyboards and screen readers: names of landmarks, and focus on what scrolls.
document.addEventListener("DOMContentLoaded", () => {
  const names = { "aside.sidebar-drawer": "Pages of the manual", "aside.toc-drawer": "Sections of this page" };
  for (const [place, name] of Object.entries(names)) {
    document.querySelectorAll(place).forEach((aside) => aside.setAttribute("aria-label", name));
  }
  document.querySelectorAll("div.highlight pre, .table-wrapper").forEach((each) => each.setAttribute("tabindex", "0"));
});
