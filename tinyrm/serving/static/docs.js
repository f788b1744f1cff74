"use strict";
// A plain reading of /openapi.json: no script of another host, so that it works offline.
const add = (parent, tag, text) => {
  const made = parent.appendChild(document.createElement(tag));
  if (text !== undefined) made.textContent = text;
  return made;
};

function example(schema, all, depth = 0) {
  if (schema.$ref) return example(all[schema.$ref.split("/").pop()], all, depth);
  if (schema.anyOf) return example(schema.anyOf[0], all, depth);
  if (schema.enum) return schema.enum[0];
  if (schema.const !== undefined) return schema.const;
  if (schema.type === "object" && schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([name, own]) => [name, example(own, all, depth + 1)]));
  }
  if (schema.type === "array") return [example(schema.items, all, depth + 1)];
  return { string: "text", integer: 0, number: 0.0, boolean: false }[schema.type] ?? null;
}

function operation(main, path, verb, told, all) {
  const part = add(main, "section");
  add(part, "h3", `${verb.toUpperCase()} ${path}`);
  add(part, "p", told.description ?? told.summary);
  const body = told.requestBody?.content?.["application/json"]?.schema;
  if (body) {
    add(part, "label", "request");
    add(part, "pre", JSON.stringify(example(body, all), null, 2));
  }
  const table = add(part, "table");
  for (const [status, answer] of Object.entries(told.responses)) {
    const line = add(table, "tr");
    add(line, "th", status).scope = "row";
    add(line, "td", answer.description);
    const schema = answer.content?.["application/json"]?.schema;
    add(line, "td", schema?.$ref?.split("/").pop() ?? "");
  }
}

function model(main, name, schema) {
  const part = add(main, "section");
  add(part, "h3", name);
  if (schema.description) add(part, "p", schema.description);
  const table = add(part, "table");
  for (const [field, own] of Object.entries(schema.properties ?? {})) {
    const line = add(table, "tr");
    add(line, "th", field).scope = "row";
    add(line, "td", own.type ?? own.$ref?.split("/").pop() ?? (own.anyOf ?? []).map((one) => one.type).join(" or "));
    add(line, "td", own.description ?? "");
  }
}

fetch("/openapi.json").then((answer) => answer.json()).then((told) => {
  const main = document.getElementById("paths");
  const all = told.components.schemas;
  for (const [path, verbs] of Object.entries(told.paths)) {
    for (const [verb, own] of Object.entries(verbs)) operation(main, path, verb, own, all);
  }
  add(main, "h2", "Models");
  for (const [name, schema] of Object.entries(all)) model(main, name, schema);
});
