/** Lets everything else that waits in the event loop run first. To wait for a time, use `Clock.sleep`. */
export const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
