/** How far the clock of whoever made a token or signed a request may be off from the hub's, in ms, either way. */
export const CLOCK_SKEW_MS = 30_000
