"use strict";
// Values under the pointer, and the button that copies. The page is whole without either.
(() => {
  const hover = document.getElementById("hover");

  const show = (figure, svg, data, cursor, event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * data.width / box.width;
    let at = 0;
    data.x.forEach((place, index) => {
      if (Math.abs(place - x) < Math.abs(data.x[at] - x)) at = index;
    });
    cursor.setAttribute("x1", data.x[at]);
    cursor.setAttribute("x2", data.x[at]);
    const head = document.createElement("b");
    head.textContent = data.at[at];
    const rows = data.names.map((name, index) => {
      const row = document.createElement("div");
      const dot = document.createElement("span");
      dot.className = "dot t" + data.slots[index];
      row.append(dot, name + "\u2003" + (data.values[index][at] || "-"));
      return row;
    });
    hover.replaceChildren(head, ...rows);
    hover.hidden = false;
    const room = document.documentElement.clientWidth - hover.offsetWidth - 8;
    hover.style.left = Math.max(8, Math.min(event.pageX + 14, room + window.scrollX)) + "px";
    hover.style.top = event.pageY + 16 + "px";
  };

  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg");
    const cursor = svg.querySelector(".cursor");
    let data = null;
    svg.addEventListener("pointermove", (event) => {
      data ??= JSON.parse(figure.querySelector("script").textContent);
      show(figure, svg, data, cursor, event);
    });
    svg.addEventListener("pointerleave", () => { hover.hidden = true; });
  }

  const button = document.getElementById("copy");
  const source = document.getElementById("markdown");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // A page from a file may not be allowed to: select it, and the keyboard does the rest.
      window.getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy as markdown"; }, 2500);
  });
})();
