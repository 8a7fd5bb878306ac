"use strict";
// The room, every three seconds. What comes is this server's own markup, with every text escaped there.
const room = document.getElementById("room");
setInterval(async () => {
  try {
    const answer = await fetch("/room", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.statusText);
    const text = await answer.text();
    if (text !== room.innerHTML) room.innerHTML = text;
    room.classList.remove("stale");
  } catch {
    room.classList.add("stale");
  }
}, 3000);
