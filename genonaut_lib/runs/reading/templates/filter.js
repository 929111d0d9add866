(function () {
  "use strict";
  var box = document.getElementById("filter");
  var words = document.getElementById("words");
  var outcome = document.getElementById("outcome");
  var said = document.getElementById("said");
  var rows = Array.prototype.slice.call(document.querySelectorAll("tbody tr[data-outcome]"));
  function sift() {
    var wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    rows.forEach(function (row) {
      var text = row.textContent.toLowerCase();
      var fits = (!outcome.value || row.dataset.outcome === outcome.value) &&
        wanted.every(function (word) { return text.indexOf(word) >= 0; });
      row.hidden = !fits;
      if (fits) { shown += 1; }
    });
    said.textContent = shown + " of " + rows.length + " runs shown";
  }
  if (!box) { return; }
  var asked = new URLSearchParams(window.location.search);
  words.value = asked.get("find") || "";
  outcome.value = asked.get("outcome") || "";
  if (outcome.selectedIndex < 0) { outcome.value = ""; }
  box.hidden = false;
  words.addEventListener("input", sift);
  outcome.addEventListener("change", sift);
  sift();
})();
