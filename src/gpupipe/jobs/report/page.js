"use strict";
// Filters, order and the enlarged view. Without it the page still shows everything.
(() => {
  const lists = [...document.querySelectorAll("[data-cards]")];
  const all = [...document.querySelectorAll(".card")];
  const order = new Map(all.map((card, index) => [card, index]));
  const get = (id) => document.getElementById(id);

  for (const time of document.querySelectorAll("time")) {
    time.title = time.textContent;
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  }
  if (!all.length) return;

  // --- which images are shown, and in which order ---
  const shown = get("shown"), usual = shown.textContent;
  const buttons = [...document.querySelectorAll(".filter")];
  const categories = new Map(all.map((card) => [card, JSON.parse(card.dataset.categories)]));
  const texts = new Map(all.map((card) => [card, `${card.dataset.name} ${card.dataset.words ?? ""} ${categories.get(card).join(" ")}`.toLowerCase()]));
  let chosen = buttons[0];

  const fits = (card) => {
    const { status, category, warned } = chosen.dataset, words = get("search").value.toLowerCase();
    if (status && card.dataset.status !== status) return false;
    if (warned !== undefined && card.dataset.warned === undefined) return false;
    if (category && !categories.get(card).includes(category)) return false;
    if (card.dataset.spare !== undefined && !status && !words.trim()) return false;
    return words.split(/\s+/).every((word) => texts.get(card).includes(word));
  };
  const counted = (number) => {
    const { of = `${all.length.toLocaleString("en")} on this page`, rest } = chosen.dataset;
    return `${number.toLocaleString("en")} of ${of}${rest ? `; ${rest}` : ""}`;
  };
  const visible = () => [...document.querySelectorAll(".card:not([hidden])")];
  const refresh = () => {
    let number = 0;
    for (const card of all) number += !(card.hidden = !fits(card));
    for (const list of lists) list.hidden = !list.querySelector(":scope > :not([hidden])");
    const isNarrowed = chosen !== buttons[0] || get("search").value.trim();
    shown.textContent = isNarrowed ? counted(number) : usual;
    get("none").hidden = number > 0;
  };
  const choose = (button) => {
    chosen = button;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    refresh();
  };
  for (const button of buttons) button.addEventListener("click", () => choose(button === chosen ? buttons[0] : button));
  get("search").addEventListener("input", refresh);
  get("reset").addEventListener("click", () => { get("search").value = ""; choose(buttons[0]); });

  const value = (name) => (card) => Number(card.dataset[name]);
  const orders = {
    given: (a, b) => order.get(a) - order.get(b),
    sure: (a, b) => value("sure")(b) - value("sure")(a) || orders.given(a, b),
    found: (a, b) => value("found")(b) - value("found")(a) || orders.given(a, b),
    name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
  };
  get("order").addEventListener("change", (event) => {
    for (const list of lists) list.append(...[...list.children].sort(orders[event.target.value]));
  });

  // --- one image, enlarged ---
  const viewer = get("viewer");
  let current = null;
  const open = (card) => {
    current = card;
    const image = card.querySelector("img"), large = get("viewer-image");
    large.hidden = !image;
    if (image) { large.src = image.src; large.alt = image.alt; }
    get("viewer-sign").replaceChildren(...(image ? [] : [card.querySelector(".sign").cloneNode(true)]));
    get("viewer-name").textContent = card.dataset.name;
    const more = card.querySelector(".more").cloneNode(true);
    more.hidden = false;
    get("viewer-more").replaceChildren(more);
    const row = visible();
    get("position").textContent = `${row.indexOf(card) + 1} of ${row.length}`;
    if (!viewer.open) viewer.showModal();
  };
  const step = (by) => {
    const row = visible();
    open(row[(row.indexOf(current) + by + row.length) % row.length]);
  };
  // Who marks a file's name, to copy it, does not ask for the picture.
  const isMarked = (part) => { const mark = getSelection(); return !mark.isCollapsed && part.contains(mark.anchorNode); };
  for (const card of all) {
    const caption = card.querySelector(".caption");
    card.querySelector(".shot").addEventListener("click", () => open(card));
    caption.addEventListener("click", () => { if (!isMarked(caption)) open(card); });
  }
  get("before").addEventListener("click", () => step(-1));
  get("after").addEventListener("click", () => step(1));
  get("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => current?.querySelector(".shot").focus());
  document.addEventListener("keydown", (event) => {
    if (viewer.open && event.key === "ArrowLeft") step(-1);
    if (viewer.open && event.key === "ArrowRight") step(1);
    if (!viewer.open && event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); get("search").focus(); }
  });
})();
