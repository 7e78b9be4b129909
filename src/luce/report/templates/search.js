"use strict";
(function () {
  var box = document.getElementById("search");
  if (!box) return;
  var samples = Array.prototype.slice.call(document.querySelectorAll("article.sample"));
  var found = document.getElementById("found");
  document.getElementById("search-form").hidden = false;
  function show() {
    var wanted = box.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    var count = 0;
    samples.forEach(function (sample) {
      var text = sample.textContent.toLocaleLowerCase();
      var hit = wanted.every(function (word) { return text.indexOf(word) !== -1; });
      sample.hidden = !hit;
      if (hit) count += 1;
    });
    found.textContent = count + " of " + samples.length + " shown";
  }
  box.addEventListener("input", show);
  show();
})();
