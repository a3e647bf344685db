// Charts of the recent past, of what /v1/history says: each element with `data-chart` names the series that it shows. Colours are those of
// the stylesheet, and only what is new is fetched.
"use strict";
(() => {
  const places = [...document.querySelectorAll("[data-chart]")];
  if (places.length === 0) return;

  const SERIES = { succeeded: "--good", failed: "--bad", running: "--accent", waiting: "--idle", wait_ms: "--idle", run_ms: "--accent" };
  const NAMES = { wait_ms: "wait, ms", run_ms: "run, ms" };
  const COLOURS = ["--accent", "--good", "--warn", "--bad", "--idle", "--strong", "--text", "--soft"];
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const span = new URLSearchParams(location.search).get("span") === "day" ? "day" : "hour";
  const lists = ["at", ...Object.keys(SERIES)];
  let known, timer;

  const percent = (value) => (value == null ? "–" : `${(100 * value).toFixed(0)} %`);
  const number = (value) => (value == null ? "–" : value.toLocaleString("en", { maximumFractionDigits: 1 }));

  // The lines of a chart: name, values, colour.
  const lines = (place) => {
    const names = place.dataset.chart.split(" ");
    if (names[0] === "groups") return known.groups.map(({ group, share }, n) => [group, share, COLOURS[n % COLOURS.length]]);
    if (names[0] === "share") {
      const none = known.at.map(() => 0);
      const [of] = known.groups;
      return [["share of what ran", of?.share ?? none, "--accent"], ["share of the quotas", of?.quota_share ?? none, "--idle"]];
    }
    return names.map((name) => [NAMES[name] ?? name, known[name], SERIES[name]]);
  };

  const draw = (place) => {
    const drawn = lines(place);
    const values = [known.at.map((at) => at / 1000), ...drawn.map(([, values]) => values)];
    const shape = JSON.stringify(drawn.map(([name]) => name));
    if (place.chart && place.shape === shape) return place.chart.setData(values);
    place.chart?.destroy();
    place.shape = shape;
    const isShare = ["groups", "share"].includes(place.dataset.chart);
    const format = isShare ? percent : number;
    const axis = { stroke: () => colour("--soft"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false } };
    place.chart = new uPlot(
      {
        width: place.clientWidth,
        height: 160,
        series: [{}, ...drawn.map(([label, , name]) => ({ label, stroke: () => colour(name), width: 2, value: (_, value) => format(value) }))],
        axes: [axis, { ...axis, size: 56, values: (_, ticks) => ticks.map(format) }],
        scales: { y: { range: (_, low, high) => [0, Math.max(high, isShare ? 1 : 1e-9) * 1.05] } },
        cursor: { drag: { x: false, y: false } },
      },
      values,
      place,
    );
  };

  const add = (news) => {
    const grown = (old, more, dropped) => [...old.slice(dropped), ...more];
    const from = span === "day" ? 86_400_000 : 3_600_000;
    const latest = news.at.at(-1);
    const dropped = known.at.findIndex((at) => at > latest - from);
    const before = (group, name) => known.groups.find((one) => one.group === group)?.[name] ?? known.at.map(() => 0);
    const of = ({ group, ...lists }) => ["share", "quota_share"].map((name) => [name, grown(before(group, name), lists[name], dropped)]);
    const groups = news.groups.map((one) => ({ group: one.group, ...Object.fromEntries(of(one)) }));
    known = { groups, ...Object.fromEntries(lists.map((name) => [name, grown(known[name], news[name], dropped)])) };
  };

  const look = async () => {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const since = known?.at.length ? `&since=${known.at.at(-1)}` : "";
      // All charts of a page are of one group, or of all.
      const { group } = places[0].dataset;
      const of = group === undefined ? "" : `&group=${encodeURIComponent(group)}`;
      const response = await fetch(`/v1/history?span=${span}${of}${since}`);
      if (!response.ok) throw new Error(response.statusText);
      const news = await response.json();
      if (since === "") known = news;
      else if (news.at.length > 0) add(news);
      for (const place of places) {
        place.classList.toggle("empty", known.at.length < 2);
        if (known.at.length >= 2) draw(place);
      }
    } catch {
      // The next look may find the server again.
    }
    timer = setTimeout(look, 5000);
  };

  new ResizeObserver(() => places.forEach((place) => place.chart?.setSize({ width: place.clientWidth, height: 160 }))).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => places.forEach((place) => place.chart?.redraw()));
  document.addEventListener("visibilitychange", look);
  look();
})();
