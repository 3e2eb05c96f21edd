/** An archive that is kept here, on the way that an answer of its registry takes: masked, with back-pressure, ended with its session. */
import { HubError } from '../../base/errors.ts'
import type { OutwardAnswer } from '../../guard/outward/exchange.ts'
import type { FoundArchive } from '../../work/egress/archives.ts'

/** `signal` ends it. */
export const fromArchive = ({ bytes, read }: FoundArchive, signal: AbortSignal): OutwardAnswer => ({
  status: 200,
  rawHeaders: ['content-type', 'application/octet-stream', 'content-length', String(bytes)],
  read: (take) =>
    read((piece) => {
      if (signal.aborted) throw new HubError('cancelled', 'it was ended', { facts: { by: 'caller', sent: false } })
      return take(piece)
    }),
  cut: () => undefined,
})
