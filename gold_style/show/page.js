// Language, printing, and the filter of the answers. The page is whole without it.
"use strict";
const root = document.documentElement, language = document.getElementById("language");
if (language) {
  const name = () => { [language.textContent, language.lang] = root.lang === "ko" ? ["English", "en"] : ["한국어", "ko"]; };
  language.addEventListener("click", () => { root.lang = root.lang === "ko" ? "en" : "ko"; name(); });
  document.getElementById("print").addEventListener("click", () => print());
  name();
}
const form = document.getElementById("filter");
if (form) {
  const FIRST = 6, blocks = [...document.querySelectorAll("#answers-side-by-side .sample")];
  const show = () => {
    const wanted = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const tag = form.elements.tag.value, failures = form.elements.failures.checked;
    let fitting = 0, shown = 0;
    for (const block of blocks) {
      const text = block.textContent.toLowerCase();
      let some = false;
      for (const row of block.querySelectorAll("[data-tag]")) {
        const fits = (!tag || row.dataset.tag === tag) && (!failures || "failed" in row.dataset);
        row.hidden = !fits;
        some ||= fits;
      }
      const fits = some && wanted.every((word) => text.includes(word));
      fitting += fits;
      block.hidden = !fits || (fitting > FIRST && !form.elements.all.checked);
      shown += !block.hidden;
    }
    form.querySelector("output").textContent = `${shown} / ${fitting}`;
  };
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("beforeprint", show);
  show();
}
