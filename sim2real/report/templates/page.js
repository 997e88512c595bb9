"use strict";
for (const stepper of document.querySelectorAll("[data-stepper]")) {
  const frames = [...stepper.querySelectorAll("[data-label]")];
  const [controls] = stepper.getElementsByClassName("steps");
  const [slider] = controls.getElementsByTagName("input");
  const [shown] = controls.getElementsByTagName("output");
  const [button] = controls.getElementsByTagName("button");
  let timer = 0;

  const show = () => {
    frames.forEach((frame, place) => { frame.hidden = place !== slider.valueAsNumber; });
    shown.textContent = frames[slider.valueAsNumber].dataset.label;
    slider.setAttribute("aria-valuetext", shown.textContent);
  };
  const play = (on) => {
    clearInterval(timer);
    timer = on ? setInterval(() => {
      slider.valueAsNumber = (slider.valueAsNumber + 1) % frames.length;
      show();
    }, 600) : 0;
    button.textContent = on ? "Pause" : "Play";
  };
  slider.addEventListener("input", () => { play(false); show(); });
  button.addEventListener("click", () => play(!timer));
  show();
  controls.hidden = frames.length < 2;
}
