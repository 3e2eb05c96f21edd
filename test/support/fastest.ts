/** How long code takes, measured so that it says the same on a slow machine and on a busy one. */

/** Processor time of this thread alone: while another process has the processor, it stands still. */
const spentMs = (): number => {
  // The kernel counts a thread's time at its ticks, some ms apart, and at once when it is asked for the whole process.
  process.cpuUsage()
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

/** What a run costs in ms of processor time. */
export async function costMs(run: () => unknown): Promise<number> {
  const begun = spentMs()
  await run()
  return spentMs() - begun
}

/** The cheapest of up to ten runs. It stops at the first below `enoughMs`, so that a bound which holds costs one run. */
async function cheapestMs(enoughMs: number, run: () => unknown): Promise<number> {
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 10 && best >= enoughMs; round += 1) best = Math.min(best, await costMs(run))
  return best
}

const TIMES = 4
/** Between a linear run, which takes four times as long, and a quadratic one, which takes sixteen times as long. */
const GROWTH_MAX = 8
const SLOWEST = 50

/**
 * Why a run takes longer than it may; undefined where it does not. Below `enoughMs` it is quick enough whatever it does. A slow machine needs
 * longer: then four times the length must not take eight times as long, and the length itself not fifty times `enoughMs`. `made` makes
 * what is run for so many times the length, `times` being 1 or 4.
 */
export async function growthFault(
  enoughMs: number,
  made: (times: number) => () => unknown,
): Promise<string | undefined> {
  const short = await cheapestMs(enoughMs, made(1))
  if (short < enoughMs) return undefined
  const long = await cheapestMs(short * GROWTH_MAX, made(TIMES))
  if (short < enoughMs * SLOWEST && long < short * GROWTH_MAX) return undefined
  return `${short.toFixed(1)} ms, and ${long.toFixed(1)} ms for ${TIMES} times as much`
}
