"use strict";
const at = (id) => document.getElementById(id);
const percent = (p) => `${(100 * p).toFixed(1)}%`;
const chance = (odds) => 1 / (1 + Math.exp(-odds));
const winner = (odds) => (odds === 0 ? "tie" : odds > 0 ? "answer 1" : "answer 2");

function row(shown, odds) {
  const line = document.createElement("tr");
  for (const text of [shown, winner(odds), percent(chance(odds)), odds.toFixed(3)]) {
    line.appendChild(document.createElement("td")).textContent = text;
  }
  return line;
}

function show(verdict) {
  const names = { a: "Answer 1 is better", b: "Answer 2 is better", tie: "A tie" };
  const sure = Math.max(verdict.probability, 1 - verdict.probability);
  const said = `${names[verdict.better]} (${percent(sure)})`;
  at("headline").textContent = verdict.order_consistent ? said : `Undecided; on average: ${said}`;
  at("fill").style.width = percent(verdict.probability);
  at("bar").setAttribute("aria-label", `P(answer 1 is better) = ${percent(verdict.probability)}`);
  at("orders").replaceChildren(row("answer 1", verdict.a_first), row("answer 2", verdict.a_second));
  const notes = [verdict.order_consistent ? "Both orders agree." : "The verdict flips with the order."];
  if (verdict.truncated) notes.push(`Cut to fit, in tokens: prompt ${verdict.cut_tokens[0]}, answer 1 ${verdict.cut_tokens[1]}, answer 2 ${verdict.cut_tokens[2]}.`);
  at("note").textContent = notes.join(" ");
  at("verdict").hidden = false;
}

async function compare(event) {
  event.preventDefault();
  const button = document.querySelector("button");
  const headers = { "Content-Type": "application/json" };
  if (at("key").value) headers.Authorization = `Bearer ${at("key").value}`;
  const pair = { prompt: at("prompt").value, a: at("a").value, b: at("b").value };
  at("error").hidden = true;
  button.disabled = true;
  try {
    const answer = await fetch("/v1/compare", { method: "POST", headers, body: JSON.stringify({ pairs: [pair] }) });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.detail);
    show(told.results[0]);
  } catch (error) {
    at("verdict").hidden = true;
    at("error").textContent = error.message;
    at("error").hidden = false;
  } finally {
    button.disabled = false;
  }
}

at("form").addEventListener("submit", compare);
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("form").requestSubmit();
});
