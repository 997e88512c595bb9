"use strict";
for (const browser of document.querySelectorAll("[data-frames]")) {
  const data = JSON.parse(document.getElementById("frames-data").textContent);
  const [search, pictured] = browser.getElementsByTagName("input");
  const [status, order] = browser.getElementsByTagName("select");
  const [head, body] = browser.querySelectorAll("thead, tbody");
  const [shown] = browser.getElementsByTagName("output");
  const perPage = 20;
  let found = [];
  let page = 0;

  const element = (name, text = "", attributes = {}) => Object.assign(document.createElement(name), { textContent: text }, attributes);
  const path = ([folder, name]) => (data.folders[folder] ? `${data.folders[folder]}/${name}` : name);
  const picture = (row) => {
    if (!(row in data.small)) return element("span");
    const image = element("img", "", { src: `data:image/webp;base64,${data.small[row]}`, alt: path(data.rows[row]) });
    if (!(row in data.large)) return image;
    const button = element("button", "", { type: "button", className: "thumb", title: "Look closely" });
    button.append(image);
    button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("show-frame", { detail: data.large[row] })));
    return button;
  };
  const line = (row) => {
    const [folder, name, state, figures, reason] = data.rows[row];
    const cells = [element("td"), element("td"), element("td", data.statuses[state], { className: "soft" })];
    cells[0].append(picture(row));
    cells[1].append(element("span", name), element("small", data.folders[folder]), element("small", reason));
    const numbers = figures.map((value, place) => {
      const cell = element("td", value === null ? "" : String(Number(value.toPrecision(3))), { className: "number" });
      cell.dataset.name = data.columns[place].name;
      return cell;
    });
    const tr = element("tr");
    tr.append(...cells, ...numbers);
    return tr;
  };
  const turn = (to) => {
    const pages = Math.max(1, Math.ceil(found.length / perPage));
    page = Math.min(Math.max(to, 0), pages - 1);
    const begin = page * perPage;
    const rows = found.slice(begin, begin + perPage);
    body.replaceChildren(...rows.map(line));
    const numbers = [begin + Math.min(1, rows.length), begin + rows.length, found.length].map((value) => value.toLocaleString("en"));
    shown.textContent = `${numbers[0]} to ${numbers[1]} of ${numbers[2]}`;
    for (const button of browser.querySelectorAll("[data-page]")) {
      const next = page + Number(button.dataset.page);
      button.disabled = next < 0 || next >= pages;
    }
  };
  const find = () => {
    const text = search.value.toLowerCase();
    found = [...data.rows.keys()].filter((row) => {
      const entry = data.rows[row];
      return (!text || path(entry).toLowerCase().includes(text)) && (!status.value || entry[2] === Number(status.value)) && (!pictured.checked || row in data.small);
    });
    const [column, way] = order.value.split(" ").map(Number);
    if (order.value) {
      const key = (row) => data.rows[row][3][column] ?? Infinity * way;
      found.sort((one, other) => way * (key(one) - key(other)) || one - other);
    }
    turn(0);
  };

  const titles = element("tr");
  titles.append(element("th"), element("th", "frame"), element("th", "status"));
  titles.append(...data.columns.map(({ name, title }) => element("th", name, { className: "number", title })));
  head.append(titles);
  status.append(element("option", "any status", { value: "" }), ...data.statuses.map((name, place) => element("option", name || "unknown", { value: String(place) })));
  order.append(element("option", "by path", { value: "" }));
  data.columns.forEach(({ name, better }, place) => {
    for (const way of better === "lower" ? [-1, 1] : [1, -1]) {
      const words = way > 0 ? "lowest first" : "highest first";
      order.append(element("option", `${name}, ${words}`, { value: `${place} ${way}` }));
    }
  });
  search.addEventListener("input", find);
  for (const control of [status, order, pictured]) control.addEventListener("change", find);
  for (const button of browser.querySelectorAll("[data-page]")) button.addEventListener("click", () => turn(page + Number(button.dataset.page)));
  for (const place of document.querySelectorAll("[data-small]")) place.append(picture(Number(place.dataset.small)));
  find();
}
