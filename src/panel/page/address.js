// Addresses on the server, relative to the folder of the panel's files: they also hold behind a path prefix.

const ROOT = new URL("../../", import.meta.url);

/** The address of a path such as `resumen/stream`. */
export function address(path) {
  return new URL(path, ROOT).href;
}
