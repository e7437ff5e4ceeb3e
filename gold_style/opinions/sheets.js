// A blind annotation sheet: keeps progress in localStorage, saves a JSON file. Nothing leaves the machine by itself.
"use strict";
const sheet = document.querySelector("main.sheet").dataset.sheet;
const place = `gold_style annotation ${sheet}`;
const items = [...document.querySelectorAll("fieldset.item")];
const rater = document.querySelector("#rater");
const questions = ["style", "content", "fluency"];
const ratings = {}; // item -> {style, content, fluency}
let keeps = true;

function say(id, text) {
  document.querySelector(id).textContent = text;
}

function complete(item) {
  return questions.every((question) => ratings[item.dataset.item]?.[question] !== undefined);
}

function count() {
  const done = items.filter(complete).length;
  say("#progress", `${done} / ${items.length}`);
  for (const item of items) item.classList.toggle("done", complete(item));
}

function keep() {
  try {
    localStorage.setItem(place, JSON.stringify({ rater: rater.value, ratings }));
  } catch {
    keeps = false;
  }
  say("#kept", keeps ? "" : "이 브라우저에는 진행 상황을 남길 수 없습니다. 창을 닫기 전에 파일로 저장하세요.");
}

function restore() {
  let kept = null;
  try {
    kept = JSON.parse(localStorage.getItem(place));
  } catch {
    keeps = false;
  }
  rater.value = kept?.rater ?? "";
  for (const item of items) {
    for (const question of questions) {
      const value = kept?.ratings?.[item.dataset.item]?.[question];
      const choice = [...item.querySelectorAll(`input[data-question=${question}]`)].find((input) => input.value === String(value));
      if (choice) {
        choice.checked = true;
        note(choice);
      }
    }
  }
}

function note(input) {
  const item = input.closest("fieldset.item").dataset.item;
  const question = input.dataset.question;
  ratings[item] = { ...ratings[item], [question]: question === "fluency" ? Number(input.value) : input.value };
}

function file() {
  // one rating a line, so that a mistake can be named by its line
  const rows = items
    .filter((item) => ratings[item.dataset.item])
    .map((item) => `    ${JSON.stringify({ item: Number(item.dataset.item), ...ratings[item.dataset.item] })}`);
  const head = `  "sheet": ${JSON.stringify(sheet)},\n  "rater": ${JSON.stringify(rater.value.trim())},\n`;
  return `{\n${head}  "saved": ${JSON.stringify(new Date().toISOString())},\n  "ratings": [\n${rows.join(",\n")}\n  ]\n}\n`;
}

document.addEventListener("change", (event) => {
  if (event.target.dataset?.question) note(event.target);
  keep();
  count();
});
rater.addEventListener("input", keep);
document.querySelector("#save").addEventListener("click", () => {
  if (!rater.value.trim()) {
    say("#said", "먼저 평가자 이름을 적어 주세요.");
    rater.focus();
    return;
  }
  const left = items.filter((item) => !complete(item)).length;
  say("#said", left ? `저장했습니다. 아직 ${left}개가 남았습니다.` : "모두 저장했습니다. 고맙습니다.");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([file()], { type: "application/json" }));
  link.download = `annotation_${sheet}_${rater.value.trim().replace(/[^0-9A-Za-z가-힣_-]+/g, "_")}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
});
restore();
count();
