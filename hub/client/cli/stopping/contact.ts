/** `hub contact card|revoke|test|confirm`: the second person, who can stop everything and do nothing else. */
import { existsSync } from 'node:fs'
import path from 'node:path'
import type { CardMade, ContactAtWatchdog } from '../../answers.ts'
import { EXIT, Problem, toProblem, usage } from '../../problem.ts'
import { type Context, given, type Run, spanOption } from '../context.ts'
import { writeWhole } from '../home-files.ts'
import { clean } from '../text.ts'
import { type CardFacts, cardPage, cardText } from './card.ts'

const HUB_PORT = 7300
const WATCHDOG_PORT = 7301
/** Where scripts/systemd/install puts it. */
const HUB_STOP = '/usr/local/bin/hub-stop'
const FINISH =
  'The watchdog was not told yet. Until then it accepts the old card and refuses this one. Start it with `hub up`; the hub then tells it within 15 s.'

/** "Thursday, 26 November 2026, 11:00 CET". */
export function dateWords(atMs: number, zone?: string): string {
  return new Intl.DateTimeFormat('en-GB', {
    weekday: 'long',
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
    ...(zone === undefined ? {} : { timeZone: zone }),
  })
    .format(atMs)
    .replace(' at ', ', ')
}

const counted = (count: number, word: string) => (count === 0 ? '' : `${count} ${word}${count === 1 ? '' : 's'}`)

/** "2 days 2 hours". */
export function spanInWords(ms: number): string {
  const minutes = Math.round(ms / 60_000)
  const parts = [
    counted(Math.floor(minutes / 1440), 'day'),
    counted(Math.floor(minutes / 60) % 24, 'hour'),
    minutes < 1440 ? counted(minutes % 60, 'minute') : '',
  ]
  return parts.filter((part) => part !== '').join(' ') || 'minutes'
}

/** What the watchdog's configuration says about operator and contact, and which card is in force; empty if it does not answer. */
async function watchdogKnows({
  watchdog,
}: Pick<Context, 'watchdog'>): Promise<{ people?: ContactAtWatchdog['people']; card?: ContactAtWatchdog['card'] }> {
  try {
    return (await watchdog.send('POST', '/v1/contact', { action: 'show' }, { deadlineMs: 5000 })) as {
      people: NonNullable<ContactAtWatchdog['people']>
    }
  } catch {
    return {}
  }
}

function factsOf(made: CardMade, given: { phone: string; lastResort: string }, zone?: string): CardFacts {
  const { card, watchdog, hub } = made
  const ports = [watchdog.port ?? WATCHDOG_PORT, hub.port]
  const isUsual = ports[0] === WATCHDOG_PORT && ports[1] === HUB_PORT
  const { stopSpanMs = null } = watchdog
  return {
    words: made.words.split('-'),
    // The watchdog's address works even if the hub is dead.
    address: watchdog.publicUrl ?? hub.publicUrl,
    contact: card.name,
    operator: card.operator,
    ...given,
    stopsAfter: stopSpanMs === null ? null : spanInWords(stopSpanMs),
    command: isUsual ? 'hub-stop' : `hub-stop ${ports.filter((port) => port !== 0).join(' ')}`,
    id: card.id,
    madeAt: dateWords(card.madeAtMs, zone),
  }
}

const textOf = (option: unknown, known: string | undefined): string =>
  typeof option === 'string' ? option : (known ?? '')

export const card: Run = async (context, _, options) => {
  const { terminal, json } = context
  const knows = await watchdogKnows(context)
  const name = textOf(options.name, knows.people?.contact)
  const operator = textOf(options.operatorName, knows.people?.operator)
  if (name === '') throw usage('who is the card for? --name NAME, or contact.name in watchdog/config.yaml')
  if (operator === '')
    throw usage('whom should they call? --operator-name NAME, or operator.name in watchdog/config.yaml')
  const out = typeof options.out === 'string' ? path.resolve(options.out) : undefined
  if (out !== undefined && existsSync(out)) throw usage(`${out} is there already`, 'choose another --out')
  if (knows.card) {
    const question = `The card ${knows.card.id} of ${clean(knows.card.name)} stops working at once. Continue?`
    if (!(await terminal.confirm(question, options.yes === true))) return EXIT.refused
  }
  const lifeMs = spanOption('--expires', options.expires)
  const expiresAtMs = lifeMs === undefined ? undefined : Date.now() + lifeMs
  const made = await context.hub.call('contact.card', given({ name, operator, expiresAtMs }))
  const facts = factsOf(made, {
    phone: textOf(options.operatorPhone, knows.people?.phone),
    lastResort: textOf(options.lastResort, knows.people?.lastResort),
  })
  if (out !== undefined) writeWhole(out, cardPage(facts))
  if (json) terminal.json({ ...made, address: facts.address, out: out ?? null })
  else terminal.out(cardText(facts).split('\n').map(clean).join('\n'))
  if (out !== undefined) terminal.note(`written to ${out} (0600): print it, then delete it`)
  if (facts.address === null)
    terminal.note(
      'the card has no address, because this machine has none for outside: set reach.publicUrl in watchdog/config.yaml, run `hub restart --watchdog`, and make the card again',
    )
  if (!existsSync(HUB_STOP))
    terminal.note(`${facts.command} on the card is not installed for every account yet: sudo scripts/systemd/install`)
  if (!made.watchdog.told) terminal.note(FINISH)
  terminal.note(`this is shown only once. Next: give it to ${name}, then \`hub contact test\``)
  return made.watchdog.told ? EXIT.done : EXIT.fault
}

/** Asks the hub, which tells the watchdog; if the hub does not answer, asks the watchdog alone. */
async function revokeAnywhere({
  hub,
  watchdog,
  terminal,
}: Context): Promise<{ card: { id: string } | null; hub: boolean; watchdog: boolean }> {
  try {
    const said = await hub.call('contact.revoke')
    return { card: said.card, hub: true, watchdog: said.watchdog.told }
  } catch (error) {
    const problem = toProblem(error)
    if (problem.kind === 'refused') throw problem
    terminal.note(`${problem.message}; telling the watchdog`)
    try {
      const { card } = await watchdogKnows({ watchdog })
      await watchdog.send('POST', '/v1/contact', { action: 'revoke' }, { deadlineMs: 5000 })
      return { card: card ?? null, hub: false, watchdog: true }
    } catch (second) {
      const text = `neither the hub nor the watchdog could be told (${toProblem(second).message})`
      throw new Problem(
        'unreachable',
        'unavailable',
        text,
        'start both: `hub up`; while both are down the card stops nothing',
      )
    }
  }
}

export const revoke: Run = async (context, _, { yes }) => {
  const { terminal, json } = context
  if (!(await terminal.confirm("End the backup contact's card at once?", yes === true))) return EXIT.refused
  const ended = await revokeAnywhere(context)
  if (json) terminal.json(ended)
  else terminal.out(ended.card === null ? 'there was no card in force' : `the card ${ended.card.id} is revoked`)
  if (!ended.watchdog)
    terminal.note('the watchdog was not told and still accepts it: `hub up`; the hub tells it within 15 s')
  if (!ended.hub) terminal.note('the hub learns of it from the watchdog when it starts: `hub up`')
  return ended.hub && ended.watchdog ? EXIT.done : EXIT.fault
}

export const test: Run = async ({ hub, terminal, json }) => {
  const said = await hub.call('contact.test', {}, { deadlineMs: 20_000 })
  if (json) {
    terminal.json(said)
    return EXIT.done
  }
  for (const one of said.failed) terminal.note(`not sent: ${one}`)
  if (said.code === undefined) {
    terminal.out(
      `a code was sent by ${said.sent} of ${said.sent + said.failed.length} channels; ask them to read it out, then: hub contact confirm CODE`,
    )
    return EXIT.done
  }
  terminal.out(
    `no channel could send it. Call them, say ${said.code}, have them repeat it, then: hub contact confirm ${said.code}`,
  )
  terminal.note('this shows that you can reach them, not that the watchdog can: set contact.channels with `hub setup`')
  return EXIT.done
}

export const confirm: Run = async ({ hub, terminal, json }, [code = '']) => {
  const said = await hub.call('contact.confirm', { code })
  if (json) terminal.json(said)
  else terminal.out('confirmed: the contact is set up. Do it again within 180 days; `hub doctor` reminds you.')
  return EXIT.done
}
