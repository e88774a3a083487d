// Two small programs: submit an evaluation; watch one. No framework, no build.

const byId = (id) => document.getElementById(id);

class ServiceProblem extends Error {
  constructor(problem) {
    super(problem.detail || problem.title || "The service did not answer.");
    this.remedy = problem.remedy || "";
  }
}

async function call(method, path, options = {}) {
  let response;
  try {
    response = await fetch(path, { method, cache: "no-store", ...options });
  } catch {
    throw new ServiceProblem({ detail: "The service cannot be reached.", remedy: "Check that it runs." });
  }
  if (response.ok || response.status === 304) return response;
  throw new ServiceProblem(await response.json().catch(() => ({ title: response.statusText })));
}

async function callJson(path, body, headers = {}) {
  const response = await call("POST", path, {
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
  return response.json();
}

// ---- submit ------------------------------------------------------------------------

async function upload(file, limit, say) {
  if (file.size > limit) {
    throw new ServiceProblem({ detail: `${file.name} is larger than the service takes.`, remedy: "Choose a smaller file." });
  }
  const bytes = await file.arrayBuffer();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const sha256 = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  say(`Uploading ${file.name}…`);
  await call("PUT", `/v1/blobs/${sha256}`, { body: bytes });
  return { sha256, name: file.name.slice(0, 120) };
}

function invalid(field, detail) {
  field.setAttribute("aria-invalid", "true");
  field.focus();
  throw new ServiceProblem({ detail });
}

function fields() {
  for (const field of document.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  const model = byId("model");
  if (!model.files.length) invalid(model, "Choose a model file.");
  const set = byId("samples").value;
  const file = byId("samples-file");
  if (!set && !file.files.length) invalid(file, "Choose a sample file.");
  const words = byId("epsilons").value.split(/[\s,;]+/).filter(Boolean);
  const epsilons = words.map(Number);
  if (!words.length || !epsilons.every((e) => Number.isFinite(e) && e >= 0)) {
    invalid(byId("epsilons"), "Epsilons are numbers of at least 0, such as 0.01, 0.03.");
  }
  const count = byId("count").value === "" ? null : Number(byId("count").value);
  if (count !== null && !(Number.isInteger(count) && count >= 1)) {
    invalid(byId("count"), "The number of samples is a whole number of at least 1.");
  }
  const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
  return { model: model.files[0], set, file: file.files[0], epsilons, count, norm: chosen("norm"), tier: chosen("tier") };
}

async function submit(form, say) {
  const asked = fields();
  const limit = Number(form.dataset.uploadBytes);
  say("Reading the files…");
  const model = await callJson("/v1/models", await upload(asked.model, limit, say));
  let samples = asked.set;
  if (!samples) samples = (await callJson("/v1/samples", await upload(asked.file, limit, say))).id;
  say("Submitting…");
  const evaluation = await callJson("/v1/evaluations", {
    model: model.id,
    samples: { id: samples, count: asked.count },
    threat_model: { norm: asked.norm, epsilons: asked.epsilons },
    tier: asked.tier,
  }, { "Idempotency-Key": crypto.randomUUID() });
  location.assign(`/evaluations/${evaluation.id}`);
}

function showProblem(problem) {
  const box = byId("error");
  const detail = document.createElement("p");
  detail.textContent = problem.message;
  const remedy = document.createElement("p");
  remedy.className = "remedy";
  remedy.textContent = problem.remedy || "";
  box.replaceChildren(detail, ...(problem.remedy ? [remedy] : []));
  box.hidden = false;
}

function startForm(form) {
  const say = (text) => { byId("status").textContent = text; };
  const button = form.querySelector("button[type=submit]");
  const samples = byId("samples");
  const toggle = () => { byId("samples-file").hidden = samples.value !== ""; };
  samples.addEventListener("change", toggle);
  toggle();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("error").hidden = true;
    button.disabled = true;
    try {
      await submit(form, say);
    } catch (problem) {
      say("");
      showProblem(problem);
      button.disabled = false;
    }
  });
  addEventListener("pageshow", () => { button.disabled = false; say(""); });
}

// ---- watch -------------------------------------------------------------------------

const FINAL = ["done", "failed", "cancelled"];
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

function show(view) {
  const { stage, done, total, note } = view.progress;
  const title = view.status === "queued" ? `Number ${view.position} in the queue` : stage || "Starting";
  if (byId("stage").textContent !== title) {
    byId("stage").textContent = title;
    byId("announce").textContent = title; // once a stage, so that a screen reader is not flooded
  }
  const badge = document.querySelector(".title .badge");
  badge.textContent = view.status;
  badge.className = `badge ${view.status}`;
  if (total) {
    byId("bar").max = total;
    byId("bar").value = done;
  } else {
    byId("bar").removeAttribute("value");
  }
  byId("note").textContent = note;
  byId("count").textContent = total ? `${done} of ${total}` : "";
}

async function watch(id) {
  let etag = "";
  for (;;) {
    try {
      const headers = etag ? { "If-None-Match": etag } : {};
      const response = await call("GET", `/v1/evaluations/${id}?wait=${etag ? 25 : 0}`, { headers });
      if (response.status !== 304) {
        etag = response.headers.get("ETag");
        const view = await response.json();
        if (FINAL.includes(view.status)) break;
        show(view);
      }
    } catch (problem) {
      byId("status").textContent = `${problem.message} Trying again…`;
      await pause(2);
      byId("status").textContent = "";
    }
    await pause(0.15);
  }
  location.reload();
}

function startWatch(section) {
  const cancel = byId("cancel");
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    byId("status").textContent = "Cancelling…";
    try {
      await call("POST", `/v1/evaluations/${section.dataset.id}/cancel`);
    } catch (problem) {
      byId("status").textContent = problem.message;
      cancel.disabled = false;
    }
  });
  watch(section.dataset.id);
}

if (byId("submit")) startForm(byId("submit"));
if (byId("watch")) startWatch(byId("watch"));
