/**
 * Turns: prompts of people to a session that lives, and what came of them. The one owner of `turn` and `chat_close`.
 *
 * C1. A prompt is a row, so it outlives the hub. It is handed to its session one at a time: the next one once the program has left the turn
 *     before. After a restart of the hub it is handed again, under the same id.
 * C2. A turn moves waiting -> running -> done, cancelled or failed, by one update that names the old state. Its end is final. What its program
 *     still says until it leaves the turn is added to its text. One whose begin is refused fails by that name.
 * C3. Text is bounded, cut between code points, and masked like a result; the end of a piece that may begin a secret is kept back in memory
 *     until the next piece or the end of the turn. A prompt is kept and shown masked; its program gets it as it was written, and masked after
 *     a restart of the hub. While the store cannot be written, what is said is left out, and the text says so.
 * C4. In a mode that permits no new work no prompt is handed out; a cancel and a close always are (I6).
 * C5. With its session every turn ends: a running one fails, or is cancelled if people ended it; its text stays.
 */
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Redaction } from '../../base/redaction.ts'
import { assertGrant, assertStopGrant, type Grant, type StopGrant } from '../../guard/grant.ts'
import type { AgentCard } from '../../protocol/agent.ts'
import { canDo } from '../../protocol/drivers.ts'
import type { ExitReason } from '../../protocol/task.ts'
import {
  type FrameBody,
  stateAfter,
  TURN_TEXT_BYTES_MAX,
  type TurnBody,
  type TurnState,
  turnMachine,
  WAITING_PROMPTS_MAX,
} from '../../protocol/turn.ts'
import type { Store } from '../../store/database.ts'
import { createMove } from '../../store/move.ts'
import type { SessionRow } from './rows.ts'
import type { Tasks } from './tasks.ts'
import type { TurnMail } from './turn-mail.ts'
import { createTurnRows, fitting, type TurnRow, type TurnRows } from './turn-rows.ts'

export interface Prompt {
  session: string
  /** Unique in its session: the same again is the same turn. */
  turn: string
  prompt: string
  askedBy: string
}

const MISSED = '\n[... what was said while the database could not be written is not here ...]\n'
/** Kept back of one turn, in characters. */
const HELD_CHARS_MAX = 16_384
const NOTHING_HELD = { text: '', written: 0 }
/** People ended the session, so what ran did not fail. */
const BY_PEOPLE: ReadonlySet<ExitReason> = new Set(['done', 'cancelled', 'operator', 'shutdown', 'ttl'])

export interface Turns extends Pick<TurnRows, 'of' | 'turn' | 'closing'> {
  /** Something waits for its program, or is being worked on. */
  isBusy(session: string): boolean
  /**
   * Keeps a prompt and hands it over once it is its turn. Throws `unknown_session`, `inbox_closed`, `unsupported_mode` if its driver is given
   * none, `limit_exceeded` and `conflict`.
   */
  say(grant: Grant, prompt: Prompt): TurnRow
  /**
   * Cancels the turn that goes on, or else the next one, and tells its program. Answers it; undefined while nothing can be written. Throws
   * `already_resolved` if there is none.
   */
  interrupt(grant: StopGrant, session: string): TurnRow | undefined
  /** Its begin was refused for good: it fails, and the next one is offered. False if it does not wait any more, or nothing can be written. */
  refused(grant: StopGrant, session: string, turn: string, why: string): boolean
  /** Tells the program of a chat that nothing more comes: what it then returns is its result. A second time does nothing. */
  close(grant: StopGrant, session: string, why: string): void
  /** Its program begins or leaves a turn. */
  told(grant: Grant, sender: SessionRow, body: TurnBody): void
  /** Its program says something of a turn. */
  framed(grant: Grant, sender: SessionRow, body: FrameBody): void
  /** Hands over the next prompt of each session that has one waiting, if the mode permits it. */
  offerAll(): void
  /** After a restart, for a session that was taken over: what it may not have heard. */
  redeliver(session: string): void
}

export function createTurns(parts: {
  store: Store
  clock: Clock
  steady: Pick<Clock, 'wallMs'>
  redaction: Redaction
  tasks: Pick<Tasks, 'session' | 'listen' | 'turning' | 'sessionsOpen'>
  cardOf: (session: { id: string; agent: string }) => AgentCard | undefined
  mail: TurnMail
  /** The mode permits new work. */
  mayBegin: () => boolean
  /** Hears of each step, after its commit. */
  onStep: (session: SessionRow, turn: TurnRow) => void
}): Turns {
  const { store, clock, steady, redaction, tasks, cardOf, mail, mayBegin, onStep } = parts
  /** Whoever asks names the turn, so two sessions may have one of the same name. */
  const keyOf = ({ session, id }: Pick<TurnRow, 'session' | 'id'>) => `${session} ${id}`
  /** What was handed to each session, while it has not begun it. */
  const handed = new Map<string, string>()
  /** Turns of which something was said that could not be written. */
  const missed = new Set<string>()
  /** By turn: the end of what was said, which may be the beginning of a secret. */
  const heldBack = new Map<string, { text: string; written: number }>()
  /** By turn: prompts that are kept otherwise than they were written. */
  const asWritten = new Map<string, string>()

  const rows = createTurnRows(store)
  const step = createMove(store)
  const { turn: turnOf, openOf, unfinished, closing } = rows
  const waitingOf = (session: string) => unfinished(session).filter(({ state }) => state === 'waiting')

  function liveSession(id: string): SessionRow {
    const session = tasks.session(id)
    if (session === undefined) throw new HubError('unknown_session', `${id}: there is no session with that id`)
    if (session.state === 'recycling' || session.state === 'recycled')
      throw new HubError('unknown_session', `${id}: that session has ended`)
    return session
  }

  const tell = ({ session, id }: TurnRow) =>
    store.afterCommit(() => {
      const [row, turn] = [tasks.session(session), turnOf(session, id)]
      if (row !== undefined && turn !== undefined) onStep(row, turn)
    })

  /** One update that names the old state, and who hears of it. */
  function move(row: TurnRow, to: TurnState, set: Record<string, unknown> = {}): void {
    const key = { session: row.session, id: row.id }
    step(turnMachine, { table: 'turn', key, state: row.state }, to, set)
    asWritten.delete(keyOf(row))
    tell(row)
  }
  function offer(session: string, redelivered = false): void {
    if (!mayBegin() || closing(session) !== undefined || openOf(session) !== undefined) return
    const [next] = waitingOf(session)
    if (next === undefined || handed.get(session) === next.id || !mail.isOpen(session)) return
    handed.set(session, next.id)
    const { id, number, prompt: kept } = next
    const prompt = asWritten.get(keyOf(next)) ?? kept
    // It does not read its mail: the prompt is handed again with a later round.
    if (!mail.prompt(session, { turn: id, number, prompt }, redelivered)) handed.delete(session)
  }
  const offerLater = (session: string) => store.afterCommit(() => offer(session))

  function cancel(row: TurnRow, error: string | null = null): void {
    const { isOpen } = row
    move(row, 'cancelled', { stop_reason: 'cancelled', error, ended_at_ms: steady.wallMs() })
    if (handed.get(row.session) === row.id) handed.delete(row.session)
    if (!isOpen) offerLater(row.session)
  }

  /** As it is kept: a value that was cut by the frames is whole only here. */
  function maskText(given: TurnRow): void {
    const { session, id, text } = closeText(given)
    const masked = redaction.text(text)
    if (masked === text) return
    const bytes = Buffer.byteLength(masked)
    store
      .prepare('update turn set text = ?, text_bytes = ? where session = ? and id = ?')
      .run(masked, bytes, session, id)
  }

  function begin(grant: Grant, sender: SessionRow, row: TurnRow): void {
    if (row.state !== 'waiting') throw new HubError('already_resolved', `the turn is ${row.state}`)
    const open = openOf(sender.id)
    if (open !== undefined) throw new HubError('conflict', `turn ${open.number} of this session has not ended`)
    move(row, 'running', { is_open: 1, started_at_ms: clock.wallMs() })
    handed.delete(sender.id)
    if (cardOf(sender)?.mode === 'chat') tasks.turning(grant, sender.id, true)
  }

  function leave(grant: Grant, sender: SessionRow, row: TurnRow, body: TurnBody & { state: 'ended' }): void {
    if (!row.isOpen) throw new HubError('already_resolved', `the turn is ${row.state}`)
    const { stopReason, error, usage } = body
    const used = usage === undefined ? {} : { usage: JSON.stringify(usage) }
    maskText(row)
    if (row.state === 'running')
      move(row, stateAfter(stopReason), {
        ...{ stop_reason: stopReason, ended_at_ms: steady.wallMs(), is_open: 0 },
        error: error === undefined ? null : redaction.text(error),
        ...used,
      })
    else {
      store.prepare('update turn set is_open = 0 where session = ? and id = ?').run(row.session, row.id)
      tell(row)
    }
    missed.delete(keyOf(row))
    if (cardOf(sender)?.mode === 'chat') tasks.turning(grant, sender.id, false)
    offerLater(sender.id)
  }

  function append(row: TurnRow, said: string): void {
    const gap = missed.delete(keyOf(row)) ? MISSED : ''
    const before = heldBack.get(keyOf(row)) ?? NOTHING_HELD
    const all = `${before.text}${gap}${said}`
    const begun = row.isCut ? 0 : Math.min(redaction.begun(all), HELD_CHARS_MAX)
    const [free, text] = [all.slice(0, all.length - begun), all.slice(all.length - begun)]
    // So little gives nothing away, and is not lost with this process: it is written, and taken back with the next piece.
    const written = /^[ -~]{1,3}$/.test(text) ? text.length : 0
    if (begun > 0) heldBack.set(keyOf(row), { text, written })
    else heldBack.delete(keyOf(row))
    put(row, `${redaction.text(free)}${written > 0 ? text : ''}`, before.written)
  }

  /** What was kept back is written now: nothing more comes. Answers the turn as it is then. */
  function closeText(row: TurnRow): TurnRow {
    const rest = heldBack.get(keyOf(row))
    heldBack.delete(keyOf(row))
    if (rest === undefined) return row
    put(row, redaction.text(rest.text), rest.written)
    return turnOf(row.session, row.id) ?? row
  }

  /** Adds to the text of the turn, in the place of its last so many characters, each of one byte. */
  function put(row: TurnRow, whole: string, instead: number): void {
    if (row.isCut) return
    const kept = fitting(whole, TURN_TEXT_BYTES_MAX - row.textBytes + instead)
    store
      .prepare(
        `update turn set text = substr(text, 1, length(text) - ?) || ?, text_bytes = text_bytes + ?, is_cut = ?
         where session = ? and id = ?`,
      )
      .run(instead, kept, Buffer.byteLength(kept) - instead, Number(kept.length < whole.length), row.session, row.id)
  }

  tasks.listen({
    recycling(session, reason) {
      for (const row of unfinished(session.id)) {
        maskText(row)
        if (row.state === 'waiting') cancel(row, 'its session ended before its turn')
        else if (row.state === 'running') {
          const isTheirs = BY_PEOPLE.has(reason)
          move(row, isTheirs ? 'cancelled' : 'failed', {
            ...{ stop_reason: isTheirs ? 'cancelled' : 'error', is_open: 0, ended_at_ms: steady.wallMs() },
            error: `its session ended: ${reason}`,
          })
        } else store.prepare('update turn set is_open = 0 where session = ? and id = ?').run(row.session, row.id)
      }
    },
    sessionChanged({ id, state }) {
      if (state === 'recycled') handed.delete(id)
      // Its mailbox is there now, or it was told of its task.
      if (state === 'ready' || state === 'working') offer(id)
    },
  })

  return {
    of: rows.of,
    turn: turnOf,
    closing,
    isBusy: (session) => unfinished(session).length > 0,

    say(grant, { session: id, turn, prompt, askedBy }) {
      assertGrant(grant, 'session.say', 'session.observe')
      const session = liveSession(id)
      const known = turnOf(id, turn)
      const kept = redaction.text(prompt)
      if (known !== undefined && known.prompt === kept) return known
      if (known !== undefined) throw new HubError('conflict', `turn ${turn} of this session is another prompt`)
      if (closing(id) !== undefined) throw new HubError('inbox_closed', `session ${id} was closed`)
      const card = cardOf(session)
      if (card === undefined || !canDo(card.driver, 'takesPrompts'))
        throw new HubError(
          'unsupported_mode',
          `agent ${session.agent} is given no prompts while it runs: its driver ${card?.driver ?? ''} cannot take one; \`hub agent drivers\` says which can`,
        )
      if (waitingOf(id).length >= WAITING_PROMPTS_MAX)
        throw new HubError('limit_exceeded', `${WAITING_PROMPTS_MAX} prompts wait for their turn in session ${id}`)
      store
        .prepare(
          `insert into turn (session, id, number, prompt, asked_by, state, created_at_ms)
           values (?, ?, (select coalesce(max(number), 0) + 1 from turn where session = ?), ?, ?, 'waiting', ?)`,
        )
        .run(id, turn, id, kept, askedBy, clock.wallMs())
      if (kept !== prompt) asWritten.set(keyOf({ session: id, id: turn }), prompt)
      const row = turnOf(id, turn) as TurnRow
      tell(row)
      offerLater(id)
      return row
    },

    interrupt(grant, id) {
      assertStopGrant(grant, 'session.interrupt')
      const session = liveSession(id)
      const driver = cardOf(session)?.driver
      if (driver === undefined || !canDo(driver, 'cancelsTurns'))
        throw new HubError(
          'unsupported_mode',
          `the driver ${driver ?? ''} of agent ${session.agent} cannot cancel one turn; \`hub session stop ${id}\` ends the session`,
        )
      const goesOn = unfinished(id).filter(({ state }) => state !== 'cancelled')
      const row = goesOn.find(({ state }) => state === 'running') ?? goesOn[0]
      if (row === undefined) throw new HubError('already_resolved', `no turn of session ${id} goes on or waits`)
      if (grant.unwritten !== undefined) {
        mail.cancelled(id, row.id)
        return undefined
      }
      const wasHanded = row.isOpen || handed.get(id) === row.id
      cancel(row)
      if (wasHanded) store.afterCommit(() => mail.cancelled(id, row.id))
      return turnOf(id, row.id)
    },

    refused(grant, session, turn, why) {
      assertStopGrant(grant, 'session.interrupt')
      const row = turnOf(session, turn)
      if (row?.state !== 'waiting' || grant.unwritten !== undefined) return false
      move(row, 'failed', { stop_reason: 'error', error: redaction.text(why), ended_at_ms: steady.wallMs() })
      if (handed.get(session) === turn) handed.delete(session)
      offerLater(session)
      return true
    },

    close(grant, id, why) {
      assertStopGrant(grant, 'session.close')
      const session = liveSession(id)
      if (cardOf(session)?.mode !== 'chat')
        throw new HubError(
          'unsupported_mode',
          `session ${id} is no chat (mode: chat): it ends with its task; \`hub session stop ${id}\` ends it now`,
        )
      if (grant.unwritten !== undefined) return mail.closed(id)
      if (closing(id) !== undefined) return
      store.prepare('insert into chat_close (session, why, at_ms) values (?, ?, ?)').run(id, why, clock.wallMs())
      for (const row of waitingOf(id)) {
        cancel(row, 'its session was closed before its turn')
        store.afterCommit(() => mail.cancelled(id, row.id))
      }
      store.afterCommit(() => mail.closed(id))
    },

    told(grant, sender, body) {
      assertGrant(grant, 'session.turn')
      const row = turnOf(sender.id, body.turn)
      if (row === undefined) throw new HubError('schema_invalid', 'turn: this session has no turn with that id')
      if (body.state === 'running') begin(grant, sender, row)
      else leave(grant, sender, row, body)
    },

    framed(grant, sender, { turn, text, usage }) {
      assertGrant(grant, 'session.frame')
      const row = turnOf(sender.id, turn)
      if (row === undefined) throw new HubError('schema_invalid', 'turn: this session has no turn with that id')
      if (!row.isOpen) throw new HubError('already_resolved', `the turn is ${row.state}`)
      if (store.failure() !== undefined) {
        if (text !== undefined) missed.add(keyOf(row))
        return
      }
      if (text !== undefined && text !== '') append(row, text)
      if (usage !== undefined)
        store
          .prepare('update turn set usage = ? where session = ? and id = ?')
          .run(JSON.stringify(usage), sender.id, turn)
    },

    offerAll() {
      if (!mayBegin()) return
      for (const session of rows.sessionsWaiting()) offer(session)
    },

    redeliver(session) {
      const open = openOf(session)
      if (open?.state === 'cancelled') mail.cancelled(session, open.id)
      if (closing(session) !== undefined) mail.closed(session)
      else offer(session, true)
    },
  }
}
