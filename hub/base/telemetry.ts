/** The logger, with redaction that cannot be switched off (S1-62), and the names of every log key that may carry a secret. */
import { type DestinationStream, type Logger, pino } from 'pino'
import { escapeOdd, type Hide, hideUnknown } from './redaction.ts'

export type Log = Logger

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

const SECRET_KEYS = [
  'token',
  'secret',
  'password',
  'authorization',
  'key',
  'privateKey',
  'credential',
  'hub-token',
  'hub-signature',
  'body',
]

/** One JSON line per entry (T30: pino escapes control characters, `escapeOdd` the rest); secret keys are masked at two depths, `hide` masks anywhere. */
export function createLog(level: LogLevel, destination: DestinationStream, hide: Hide = hideUnknown().text): Log {
  const paths = SECRET_KEYS.flatMap((key) => [`["${key}"]`, `*["${key}"]`])
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: { paths, censor: '[redacted]' } },
    { write: (line) => destination.write(escapeOdd(hide(line))) },
  )
}

/** For tests. */
export const silentLog = (): Log => pino({ level: 'silent' })
