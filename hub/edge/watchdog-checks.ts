/** What the watchdog says of its alerting, as checks of the doctor: nobody told is broken, no contact told and no outside are worth a look. */
import { toHubError } from '../base/errors.ts'
import type { Check } from './doctor.ts'

type Row = Readonly<Record<string, unknown>>
const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)
const rowsOf = (value: unknown): readonly Row[] => (Array.isArray(value) ? value.filter(isRow) : [])
const textOf = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 300) : '')

/** What a lack of the configuration is called here, and what mends it. */
const LACKS: Readonly<Record<string, { name: string; mend: string }>> = {
  no_channel: { name: 'watchdog channels', mend: 'hub setup' },
  no_contact: { name: 'contact channels', mend: 'hub setup, then hub contact test' },
  no_outside: { name: 'outside ping', mend: 'hub setup --ping URL, of a check that expects a ping' },
}

function channelChecks(channels: readonly Row[], who: string, { name, mend }: { name: string; mend: string }): Check {
  const own = channels.filter((one) => one.who === who)
  const failing = own.filter((one) => Number(one.failures) > 0)
  const detail = own.map((one) => {
    const state = Number(one.failures) > 0 ? `fails: ${textOf(one.reason)}` : 'ok'
    return `${textOf(one.channel)} ${state}, ${Number(one.waiting)} waiting`
  })
  return { name, ok: failing.length > 0 ? null : true, detail: detail.join('; '), mend }
}

/** The checks over `GET /v1/status` of the watchdog; one that is away is itself worth a look. */
export function createWatchdogChecks(askStatus: () => Promise<unknown>): () => Promise<Check[]> {
  return async () => {
    let alerting: unknown
    try {
      const status = await askStatus()
      alerting = isRow(status) ? status.alerting : undefined
    } catch (thrown) {
      const detail = toHubError(thrown).message
      return [{ name: 'watchdog channels', ok: null, detail, mend: 'hub up' }]
    }
    if (!isRow(alerting)) return []
    const lacks = new Map(rowsOf(alerting.lacks).map((lack) => [textOf(lack.name), lack]))
    const channels = rowsOf(alerting.channels)
    const outside = isRow(alerting.outside) ? alerting.outside : {}
    return Object.entries(LACKS).map(([key, words]): Check => {
      const lack = lacks.get(key)
      if (lack !== undefined)
        return { name: words.name, ok: lack.ok === false ? false : null, detail: textOf(lack.text), mend: words.mend }
      if (key === 'no_channel') return channelChecks(channels, 'operator', { ...words, mend: 'hub alert test' })
      if (key === 'no_contact') return channelChecks(channels, 'contact', { ...words, mend: 'hub contact test' })
      const reason = textOf(outside.reason)
      return { name: words.name, ok: reason === '' ? true : null, detail: reason || 'answered', mend: words.mend }
    })
  }
}
