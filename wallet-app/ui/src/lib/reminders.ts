// Who still has no recovery sheet on paper, as far as this window was told. Lost with the window's
// storage, it costs a reminder and nothing else.

const KEY = "miid.sheet-later";

function read(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((did) => typeof did === "string") : [];
  } catch {
    return [];
  }
}

function write(dids: string[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(dids));
  } catch {
    // A window that may not keep anything reminds nobody.
  }
}

export const sheetReminders = {
  has: (did: string) => read().includes(did),
  add: (did: string) => write([...new Set([...read(), did])]),
  drop: (did: string) => write(read().filter((other) => other !== did)),
};
