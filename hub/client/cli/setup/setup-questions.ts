/**
 * The questions of `hub setup`, one part after the other. A part is asked until it is written or left out: by Enter if it has no answer yet,
 * or by `skip`. A refusal is explained in plain words, and the same part is asked again with its last answers as defaults.
 */
import { microOfArgument, usdWritten } from '../../../protocol/dollars.ts'
import { toProblem } from '../../problem.ts'
import { completedUpstream, keyOfUpstream, NO_WISH } from '../upstreams/wish.ts'
import { type Ask, contactOf, type Given, localOf, mailOf, postOf, readSecret, textOf } from './setup-answers.ts'
import type { Desk } from './setup-desk.ts'
import type { Draft } from './setup-draft.ts'
import { inWords, wrongAnswer } from './setup-refusals.ts'

export interface Talk {
  desk: Desk
  draft: Draft
  ask: Ask
  note: (text: string) => void
}

const SKIP = 'skip'
class LeftOut extends Error {}

async function isTaken({ desk, note }: Talk, given: () => Given): Promise<boolean> {
  try {
    await desk.commit(given())
    return true
  } catch (error) {
    const problem = toProblem(error)
    // A fault of this command would come again with every answer.
    if (problem.kind === 'fault') throw problem
    note(`Not accepted: ${inWords(problem)}. Nothing was written. Answer again, or type skip to leave it out for now.`)
    return false
  }
}

/** A part with a single answer. Enter keeps the present one. */
async function one(
  talk: Talk,
  question: string,
  standing: string | undefined,
  given: (answer: string) => Given['answers'],
): Promise<void> {
  for (;;) {
    const answer = await talk.ask(question, standing)
    if (answer === '' || answer === SKIP) return
    if ((await isTaken(talk, () => ({ answers: given(answer), secrets: {} }))) || answer === standing) return
  }
}

interface Asked {
  /** `key`: the name under which the answer waits for the rest of its part. */
  text(key: string, question: string, standing: string | undefined): Promise<string>
  /** Typed without being shown, or read from a file; undefined: the present secret stays. */
  secret(what: string, stands: boolean): Promise<() => string | undefined>
}

/** A part with several answers, which are written together. `gather` returns undefined if there is nothing to write. */
async function together(
  talk: Talk,
  part: string,
  gather: (asked: Asked) => Promise<(() => Given) | undefined>,
): Promise<void> {
  const asked: Asked = {
    async text(key, question, standing) {
      const answer = await talk.ask(question, talk.draft.answer(part, key) ?? standing)
      if (answer === SKIP) throw new LeftOut()
      talk.draft.put(part, key, answer)
      return answer
    },
    async secret(what, stands) {
      const other = stands ? 'to name a file, or to keep it' : 'to name a file, or for none'
      const typed = await talk.ask(`  ${what}, not shown while you type (Enter ${other})`, undefined, true)
      if (typed !== '') return () => typed
      const file = await talk.ask(`  a file that holds ${what} (Enter: ${stands ? 'keep it' : 'none'})`, undefined)
      if (file === SKIP) throw new LeftOut()
      return () => (file === '' ? undefined : readSecret(`the file that holds ${what}`, file))
    },
  }
  for (;;) {
    try {
      const given = await gather(asked)
      if (given === undefined || (await isTaken(talk, given))) break
    } catch (error) {
      if (!(error instanceof LeftOut)) throw error
      break
    }
  }
  talk.draft.drop(part)
}

async function askMail(talk: Talk): Promise<void> {
  await together(talk, 'mail', async (asked) => {
    const before = talk.desk.standing().channel('email')
    const was = textOf(Array.isArray(before?.to) ? before.to[0] : before?.to)
    const to = await asked.text('to', 'Tell you by mail: your address', was)
    if (to === '') return undefined
    const server = await asked.text(
      'server',
      '  through which server (host:port)',
      before === undefined ? undefined : `${before.host}:${before.port ?? 587}`,
    )
    // If no sender was set, mail comes from the address that it goes to, also after that changes.
    const sender = before?.from === was ? to : (textOf(before?.from) ?? to)
    const from = await asked.text('from', "  the sender's address", sender)
    const user = await asked.text('user', '  with which account there', textOf(before?.user))
    const password =
      user === '' ? () => undefined : await asked.secret('its password', before?.passwordFrom !== undefined)
    return () => mailOf({ to, server, from: from === '' ? to : from, user, password: password() }, before)
  })
}

const POSTS = {
  push: { question: 'Tell you by push: the address of your topic', secret: 'its token', key: 'tokenFrom' },
  webhook: {
    question: 'Tell a program of yours: its address',
    secret: 'the secret that signs each call',
    key: 'secretFrom',
  },
} as const

async function askPost(talk: Talk, kind: keyof typeof POSTS): Promise<void> {
  await together(talk, kind, async (asked) => {
    const was = talk.desk.standing().channel(kind)
    const { question, secret, key } = POSTS[kind]
    const url = await asked.text('url', question, textOf(was?.url))
    if (url === '') return undefined
    const said = await asked.secret(secret, was?.[key] !== undefined)
    return () => postOf(kind, url, said(), was)
  })
}

async function askContact(talk: Talk): Promise<void> {
  await together(talk, 'contact', async (asked) => {
    const { contact, contactMail, channel } = talk.desk.standing()
    const through = channel('email')
    const name = await asked.text('name', 'Your backup contact, who may stop everything: their name', contact)
    if (name === '') return undefined
    if (through === undefined) {
      talk.note('Your backup contact is told through your mail server, and there is none yet. Left out for now.')
      return undefined
    }
    const address = await asked.text('address', '  their mail address', contactMail)
    // The contact is told by other channels, which somebody wrote into the file.
    if (address === '' && name === contact && contactMail === undefined) return undefined
    return () => {
      if (address === '') throw wrongAnswer('contactMail', 'is missing; write it like bo@example.org')
      return { answers: contactOf(name, address, through), secrets: {} }
    }
  })
}

/** A first upstream, so that agents reach a model; left out by Enter. */
async function askUpstream(talk: Talk): Promise<void> {
  const { desk, note } = talk
  const ask: Ask = async (question, standing, isSecret) => {
    const answer = await talk.ask(`  ${question}`, standing, isSecret)
    if (answer === SKIP) throw new LeftOut()
    return answer
  }
  for (;;) {
    const kind = await talk.ask('Let agents call a model: anthropic, openai, google, or skip', SKIP)
    if (kind === '' || kind === SKIP) return
    try {
      const { name, entry, secret } = await completedUpstream({ ...NO_WISH, kind }, ask)
      const key = await keyOfUpstream(desk.home, { name, secret }, ask)
      const secrets = key === undefined || secret === undefined ? {} : { [secret]: key }
      if (!(await isTaken(talk, () => ({ answers: { upstream: { name, entry } }, secrets })))) continue
      desk.view.upstream = { name, kind }
      break
    } catch (error) {
      if (error instanceof LeftOut) return
      const problem = toProblem(error)
      if (problem.kind === 'fault') throw problem
      note(`Not accepted: ${problem.message}. Answer again, or type skip to leave it out for now.`)
    }
  }
}

async function askDayBudget(talk: Talk): Promise<void> {
  const most = 'What models may cost in a day at most, in US dollars'
  await one(talk, most, talk.desk.standing().dayBudget ?? '10', (answer) => {
    const micro = microOfArgument(answer)
    return { dayBudget: micro === undefined ? answer : usdWritten(micro) }
  })
}

export async function askAll(talk: Talk): Promise<void> {
  const { desk } = talk
  const own = Intl.DateTimeFormat().resolvedOptions().timeZone
  await one(talk, 'Your time zone', desk.standing().zone ?? own, (zone) => ({ zone }))
  await askMail(talk)
  await askPost(talk, 'push')
  await askPost(talk, 'webhook')
  const due = 'When a heartbeat is due: rolling, or daily at HH:MM'
  await one(talk, due, desk.standing().heartbeat ?? 'rolling', (heartbeat) => ({ heartbeat }))
  await one(talk, 'Your name, as your backup contact knows you', desk.standing().operator, (operator) => ({ operator }))
  await askContact(talk)
  const watch = 'An outside service that expects regular pings: its address'
  await one(talk, watch, desk.standing().ping, (url) => ({ ping: { url, ...localOf(url) } }))
  if (!desk.standing().hasUpstream) await askUpstream(talk)
  if (desk.standing().hasUpstream) await askDayBudget(talk)
}
