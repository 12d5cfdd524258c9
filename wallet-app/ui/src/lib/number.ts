/** The digits of what was typed or pasted ("4 7", "４７"), two at most. */
export function digitsOf(typed: string): string {
  return typed
    .normalize("NFKC")
    .replace(/[^0-9]/g, "")
    .slice(0, 2);
}
