// Shows the contract with Swagger UI, and gives names to what that leaves without one.
"use strict";

const place = document.getElementById("operations");

// What a screen reader calls each, by what it is.
const NAMES = [
  ["select[aria-label='']", "Choice"],
  ["select:not([aria-label])", "Choice"],
  ["textarea:not([aria-label])", "Body of the request"],
  ["input:not([aria-label]):not([id])", "Value"],
  ["button.opblock-control-arrow", "Show or hide the operation"],
];

function name(root) {
  for (const [selector, label] of NAMES) {
    for (const found of root.querySelectorAll(selector)) {
      const row = found.closest("tr[data-param-name]");
      found.setAttribute("aria-label", row ? row.dataset.paramName : label);
    }
  }
}

SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  defaultModelsExpandDepth: -1,
  // One at a time: there are many, and the page is long.
  docExpansion: "list",
  validatorUrl: null,
});
new MutationObserver(() => name(place)).observe(place, { childList: true, subtree: true });
