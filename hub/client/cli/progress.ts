/** The progress of long work (fault C22): one line kept up to date on a terminal, a line every few seconds elsewhere, nothing with `--json`. */
import type { Context } from './context.ts'
import { countOf } from './text.ts'

const RENEW_MS = 100
const LINE_MS = 5_000

export type Progress = (done: number, of: number) => void

/** `what` as in `packing the input`. The clock is monotonic. Work that ends within the first pause prints nothing. */
export function createProgress(
  { json, terminal }: Pick<Context, 'json' | 'terminal'>,
  what: string,
  now: () => number = () => performance.now(),
): Progress {
  const pauseMs = terminal.renews === true ? RENEW_MS : LINE_MS
  let saidAtMs = now()
  return (done, of) => {
    if (json || now() - saidAtMs < pauseMs) return
    saidAtMs = now()
    terminal.live(`${what}: ${done} of ${countOf(of, 'file')}`)
  }
}
