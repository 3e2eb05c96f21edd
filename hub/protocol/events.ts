/** Every event the hub publishes: immutable facts, CloudEvents attribute names, with numbers that rise over every start of the hub. */
import type { OperationName } from './operations.ts'

/**
 * When each is published, what it is about, the read that shows as much (who may not do that does not see the event), and its data: each field with
 * its meaning. A page of the reference is made from this.
 */
export const EVENTS = {
  'hub.task.queued.v1': {
    when: 'a task was submitted, released, or waits for another try',
    subject: 'task:ID',
    seenWith: 'task.show',
    data: {
      task: 'its id',
      state: 'its state',
      agent: 'its agent, or null',
      parent: 'the task above it, or null',
      attempts: 'how many there were',
      error: 'why it failed, or null',
    },
  },
  'hub.task.running.v1': {
    when: 'a session was started for a task',
    subject: 'task:ID',
    seenWith: 'task.show',
    data: {
      task: 'its id',
      state: 'its state',
      agent: 'its agent',
      parent: 'the task above it, or null',
      attempts: 'how many there were',
      error: 'why it failed, or null',
    },
  },
  'hub.task.progress.v1': {
    when: 'an agent said how far it is',
    subject: 'task:ID',
    seenWith: 'task.show',
    data: {
      agent: 'who says it',
      session: 'its session',
      text: 'in words; may be absent',
      done: 'how much; may be absent',
      total: 'of how much; may be absent',
    },
  },
  'hub.session.turn.v1': {
    when: 'a prompt was given to a session, its turn began, or ended',
    subject: 'task:ID',
    seenWith: 'session.show',
    data: {
      agent: 'whose session it is',
      session: 'the session',
      turn: 'the id of the turn',
      number: 'counts the turns of the session from 1',
      state: 'waiting, running, done, cancelled or failed',
      stopReason: 'why it ended, or null',
    },
  },
  'hub.task.log.v1': {
    when: 'an agent wrote a line of its log, or the hub wrote one about it',
    subject: 'task:ID',
    seenWith: 'task.logs',
    data: { agent: 'whose it is', session: 'its session', level: 'debug, info, warn or error', text: 'the line' },
  },
  'hub.task.asked.v1': {
    when: 'an agent asks the operator',
    subject: 'task:ID',
    seenWith: 'approval.list',
    data: { agent: 'who asks', approval: 'the id for `hub approve` and `hub reject`', text: 'the question' },
  },
  'hub.approval.asked.v1': {
    when: 'a rule asks a person about an act, or an agent asks whether it may use a tool',
    subject: 'approval:ID',
    seenWith: 'approval.list',
    data: {
      approval: 'the id for `hub approve` and `hub reject`',
      task: 'the task it belongs to, or null',
      agent: 'whose act it is, or null',
      operation: 'what is to be done',
      resource: 'to what',
      text: 'why the rule asks, or which tool it is',
    },
  },
  'hub.approval.answered.v1': {
    when: 'a person answered a question or an act, or it ended without an answer',
    subject: 'approval:ID',
    seenWith: 'approval.list',
    data: {
      approval: 'its id',
      kind: '`ask_user` for a question of an agent, `tool` for a tool it is about to use, `act` where a rule asked',
      task: 'the task it belongs to, or null',
      agent: 'who asked, or whose act it is; or null',
      answer:
        '`approved` or `rejected`; `expired` if nobody answered in time, `superseded` if what it was about changed, `over` if what it was for ended',
      by: 'who answered, or null',
      text: 'what was said with it; empty if nothing',
    },
  },
  'hub.task.completed.v1': {
    when: 'a task has ended, well or not',
    subject: 'task:ID',
    seenWith: 'task.show',
    data: {
      task: 'its id',
      state: 'how it ended',
      agent: 'its agent, or null',
      parent: 'the task above it, or null',
      attempts: 'how many there were',
      error: 'why it failed, or null',
    },
  },
  'hub.session.started.v1': {
    when: 'the container of a session was started',
    subject: 'session:ID',
    seenWith: 'session.show',
    data: { agent: 'its agent', task: 'its task' },
  },
  'hub.session.ended.v1': {
    when: 'a session has ended and its container is gone',
    subject: 'session:ID',
    seenWith: 'session.show',
    data: { agent: 'its agent', task: 'its task', exit: 'why' },
  },
  'hub.message.refused.v1': {
    when: 'a message of an agent was refused, or could not be delivered',
    subject: 'session:ID',
    seenWith: 'session.show',
    data: {
      operation: 'what was asked; absent where a mailbox was full',
      resource: 'of what; absent where a mailbox was full',
      code: 'why, as in the table of errors',
      detail: 'in words; absent where a mailbox was full',
      topic: 'of a mailbox that was full; absent otherwise',
    },
  },
  'hub.agent.crashed.v1': {
    when: 'a session of an agent crashed and is not tried again',
    subject: 'agent:NAME',
    seenWith: 'agent.show',
    data: { task: 'what it worked for', how: 'what happened' },
  },
  'hub.agent.halted.v1': {
    when: 'too many sessions of an agent ended badly, so it gets no new work',
    subject: 'agent:NAME',
    seenWith: 'agent.show',
    data: { agent: 'its name', reason: 'in words' },
  },
  'hub.agent.image_changed.v1': {
    when: "the name of an agent's image points to another image now",
    subject: 'agent:NAME',
    seenWith: 'agent.show',
    data: {
      image: 'the name',
      imageId: 'the image that is used',
      former: 'the one before',
      card: 'the SHA-256 of its card',
    },
  },
  'hub.artifact.quarantined.v1': {
    when: 'a task has read what a quarantined session left',
    subject: 'task:ID',
    seenWith: 'artifact.list',
    data: {
      task: 'who read',
      session: 'the session that read',
      from: 'the quarantined one',
      artifacts: 'what was read',
    },
  },
  'hub.flag.changed.v1': {
    when: 'a feature flag was switched, or an emergency entry has ended',
    subject: 'flag:NAME',
    seenWith: 'flag.list',
    data: {
      flag: 'its name',
      on: 'whether it is on now',
      by: 'what made it so: held, emergency, set or profile',
      leftMs: 'how long an emergency entry still holds, or null',
    },
  },
  'hub.mode.changed.v1': {
    when: 'the mode of the hub changed',
    subject: 'hub',
    seenWith: 'mode.show',
    data: { mode: 'the new one', conditions: 'names of those that hold' },
  },
  'hub.alert.raised.v1': {
    when: 'an alert began, or became louder',
    subject: 'alert:ID',
    seenWith: 'alert.list',
    data: { id: 'its id', cause: 'kind and subject', severity: 'how bad', event: 'raised or louder', text: 'in words' },
  },
  'hub.alert.resolved.v1': {
    when: 'an alert is over',
    subject: 'alert:ID',
    seenWith: 'alert.list',
    data: { id: 'its id', cause: 'kind and subject', severity: 'how bad', event: 'resolved', text: 'in words' },
  },
} as const satisfies Record<
  string,
  { when: string; subject: string; seenWith: OperationName; data: Record<string, string> }
>
export type EventType = keyof typeof EVENTS
/** What an event of this type may carry: no field that the table does not know. */
export type EventData<Type extends EventType> = { [Key in keyof (typeof EVENTS)[Type]['data']]?: unknown }

export interface HubEvent {
  specversion: '1.0'
  id: string
  /** The number of this run of the hub times a thousand million, and the ordinal within it; `since` of the event stream. */
  sequence: number
  source: string
  type: EventType
  subject: string
  time: string
  data: Record<string, unknown>
}
