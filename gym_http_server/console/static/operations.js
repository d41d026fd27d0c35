// Shows the contract with Swagger UI, and labels its elements without an accessible name.
"use strict";

const place = document.getElementById("operations");

// Accessible names of elements without one.
const NAMES = [
  ["select:not([aria-label]), select[aria-label='']", "Choice"],
  ["textarea:not([aria-label])", "Body of the request"],
  ["input:not([aria-label])", "Value"],
  ["button.opblock-control-arrow", "Details"],
  [".copy-to-clipboard button:not([aria-label])", "Copy"],
  [".close-modal", "Close"],
];

function mend() {
  for (const [selector, label] of NAMES) {
    for (const found of place.querySelectorAll(selector)) {
      const name = found.closest("tr[data-param-name]")?.dataset.paramName ?? label;
      if (found.getAttribute("aria-label") !== name) found.setAttribute("aria-label", name);
    }
  }
  // Its text is its name.
  for (const button of place.querySelectorAll(".opblock-summary-control[aria-label]")) button.removeAttribute("aria-label");
  // Keyboards and screen readers use the button inside, which does the same.
  for (const heading of place.querySelectorAll(".opblock-tag[tabindex], .opblock-summary [tabindex]:not(button)")) heading.removeAttribute("tabindex");
  // Scrollable elements must be reachable by keyboard.
  for (const text of place.querySelectorAll("pre.microlight:not([tabindex]), .highlight-code pre:not([tabindex])")) text.tabIndex = 0;
}

SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: false,
  defaultModelsExpandDepth: -1,
  // Collapsed, because there are many operations.
  docExpansion: "list",
  validatorUrl: null,
});
new MutationObserver(mend).observe(place, { childList: true, subtree: true });
