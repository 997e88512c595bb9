"use strict";
for (const viewer of document.querySelectorAll("[data-viewer]")) {
  const frames = [...viewer.querySelectorAll("[data-frame]")];
  const [select] = viewer.getElementsByTagName("select");
  const split = viewer.querySelector(".split");
  const boxes = [...viewer.querySelectorAll("[type=checkbox][value]")];

  const show = (place) => {
    select.value = String((place + frames.length) % frames.length);
    frames.forEach((frame, at) => { frame.hidden = String(at) !== select.value; });
    const [frame] = frames.filter((each) => !each.hidden);
    const there = new Set([...frame.querySelectorAll("[data-layer]")].map((layer) => layer.dataset.layer));
    for (const box of boxes) box.parentElement.classList.toggle("absent", !there.has(box.value));
    split.hidden = !frame.querySelector(".over");
  };
  const move = (percent) => {
    split.value = String(percent);
    viewer.style.setProperty("--split", `${split.value}%`);
    split.setAttribute("aria-valuetext", `${Math.round(split.value)} %`);
  };
  const overlay = () => {
    const shown = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    for (const layer of viewer.querySelectorAll("[data-layer]")) layer.toggleAttribute("hidden", !shown.has(layer.dataset.layer));
    for (const field of viewer.getElementsByTagName("fieldset")) {
      field.querySelector("[data-all]").checked = [...field.querySelectorAll("[value]")].every((box) => box.checked);
    }
  };

  for (const stage of viewer.querySelectorAll(".stage")) {
    const follow = (event) => {
      const { left, width } = stage.getBoundingClientRect();
      move((100 * (event.clientX - left)) / width);
    };
    stage.addEventListener("pointerdown", (event) => { stage.setPointerCapture(event.pointerId); follow(event); });
    stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) follow(event); });
  }
  split.addEventListener("input", () => move(split.value));
  select.addEventListener("change", () => show(Number(select.value)));
  for (const button of viewer.querySelectorAll("[data-move]")) {
    button.addEventListener("click", () => show(Number(select.value) + Number(button.dataset.move)));
  }
  for (const field of viewer.getElementsByTagName("fieldset")) {
    field.addEventListener("change", (event) => {
      if ("all" in event.target.dataset) {
        for (const box of field.querySelectorAll("[value]")) box.checked = event.target.checked;
      }
      overlay();
    });
  }
  document.addEventListener("show-frame", (event) => {
    show(event.detail);
    viewer.scrollIntoView({ block: "center" });
  });
  show(0);
  move(50);
  overlay();
}
