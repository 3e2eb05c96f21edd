/** Lets everything that waits have its turn of the event loop first. No time: what waits for a clock is `Clock.sleep`. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
