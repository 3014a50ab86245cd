// What Keyframe's pages gain with JavaScript: times in the reader's zone and words, names to copy, progress without
// a reload. Every page works without it; nothing here changes anything on the server.
"use strict";
(() => {
  const own = document.currentScript;
  const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
  const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December"];

  const two = (n) => `${n}`.padStart(2, "0");
  const clock = (t) => `${two(t.getHours())}:${two(t.getMinutes())}`;
  const second = (t) => `${clock(t)}:${two(t.getSeconds())}`;
  const distance = (t, now) => Math.round((new Date(now.getFullYear(), now.getMonth(), now.getDate())
    - new Date(t.getFullYear(), t.getMonth(), t.getDate())) / 86400000);
  const day = (t, now) => {
    const days = distance(t, now);
    if (days === 0 || days === 1) return ["today", "yesterday"][days];
    const year = t.getFullYear() === now.getFullYear() ? "" : ` ${t.getFullYear()}`;
    return `${DAYS[t.getDay()]} ${t.getDate()} ${MONTHS[t.getMonth()]}${year}`;
  };
  const when = (t, now) => `${day(t, now)} ${clock(t)}`;
  const exactly = (t, now) => `${day(t, now)} ${second(t)}`;
  const counted = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"} ago`;
  const ago = (t, now) => {
    const seconds = Math.floor((now - t) / 1000);
    if (seconds < 60) return "just now";
    if (seconds < 3600) return counted(Math.floor(seconds / 60), "minute");
    if (seconds < 43200) return counted(Math.floor(seconds / 3600), "hour");
    const days = distance(t, now);
    return days < 2 || days > 30 ? when(t, now) : counted(days, "day");
  };
  const STYLES = { clock, second, day, when, exactly, ago };

  // A reader in another zone may see a snapshot on another day: the days of a list are put together anew.
  function regroup(list, now) {
    const days = [...list.querySelectorAll(":scope > .kf-day")];
    const rows = days.flatMap((one) => [...one.querySelectorAll(".kf-timeline > li")]);
    const moment = (row) => new Date(row.querySelector(".kf-clock time").dateTime);
    const fits = days.every((one) => new Set([...one.querySelectorAll("time[data-time=day], .kf-clock time")]
      .map((time) => day(new Date(time.dateTime), now))).size === 1);
    if (fits) return;
    let last = null;
    const fresh = [];
    for (const row of rows) {
      if (day(moment(row), now) !== last) {
        last = day(moment(row), now);
        const one = days[0].cloneNode(true);
        one.querySelector("time[data-time=day]").dateTime = row.querySelector(".kf-clock time").dateTime;
        one.querySelector("ul").replaceChildren();
        fresh.push(one);
      }
      fresh[fresh.length - 1].querySelector("ul").append(row);
    }
    days[0].before(...fresh);
    days.forEach((one) => one.remove());
  }

  function tell(root) {
    const now = new Date();
    root.querySelectorAll("#keyframe-section").forEach((list) => regroup(list, now));
    root.querySelectorAll("time[data-time]").forEach((time) => {
      const words = STYLES[time.dataset.time](new Date(time.dateTime), now);
      if (time.textContent !== words) time.textContent = words;
    });
  }

  function offerCopies(root) {
    root.querySelectorAll("button[data-copy]").forEach((button) => {
      if (!navigator.clipboard || !button.hidden) return;
      button.hidden = false;
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
      });
    });
  }

  // Progress: said once per step, not once a second; at the end the focus goes to the outcome.
  function say(root) {
    const job = root.querySelector("[data-say]");
    const said = document.getElementById("keyframe-said");
    if (job && said && said.textContent !== job.dataset.say) said.textContent = job.dataset.say;
    const outcome = root.querySelector("[data-focus]");
    outcome?.removeAttribute("data-focus");
    outcome?.focus();
  }

  // A page behind others tells by its title how far its job is; what the host adds to the title stays.
  let called = "";
  function entitle(root) {
    const job = root.querySelector("[data-title]");
    if (!job) return;
    const title = `${job.querySelector("h1").textContent} · ${job.dataset.of}`;
    document.title = document.title.replace(called || job.dataset.title, () => title);
    called = title;
  }

  function refresh() {
    tell(document);
    offerCopies(document);
    entitle(document);
    say(document);
  }

  // The host's page may bring htmx itself; where it does not, ours is fetched when something has to be polled.
  function bringHtmx() {
    if (window.htmx || !document.querySelector("[hx-get]")) return;
    if (!document.querySelector('meta[name="htmx-config"]')) {
      const meta = document.createElement("meta");
      meta.name = "htmx-config";
      meta.content = '{"includeIndicatorStyles": false, "allowEval": false}';
      document.head.append(meta);
    }
    const script = document.createElement("script");
    script.src = own.dataset.htmx;
    document.head.append(script);
  }

  document.addEventListener("DOMContentLoaded", refresh);
  document.addEventListener("htmx:afterSettle", refresh);
  window.addEventListener("load", bringHtmx);
  setInterval(() => tell(document), 30000);
})();
