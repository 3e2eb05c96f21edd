/**
 * What the hub and the watchdog answer, as the command reads it. Types only, and no second copy of a shape: each is the one of
 * `protocol/views.ts` or `protocol/views-guard.ts`. `Since` marks keys that an earlier hub, which may run until the next `hub restart`, does not send.
 */
import type { Answer, AnsweredName } from '../protocol/answers.ts'
import type { ServedName } from '../protocol/routes.ts'
import type * as views from '../protocol/views.ts'
import type * as guard from '../protocol/views-guard.ts'

/** These keys may be absent: an earlier version does not send them. */
type Since<View, Keys extends keyof View> = Omit<View, Keys> & Partial<Pick<View, Keys>>

/** A part of an answer, as any hub that may run now gives it. */
type Taken<Part> = Part extends views.TaskView
  ? Since<Part, 'unreadable' | 'waitsFor' | 'sensitivity' | 'spec'>
  : Part extends views.AttemptView
    ? Since<Part, 'unreadable' | 'oomKilled'>
    : Part extends views.SessionView
      ? Since<Part, 'leftBehind' | 'unreadable' | 'stalledSinceMs' | 'waitLeftMs' | 'authority'>
      : Part extends views.AgentView
        ? Since<
            Part,
            | 'imageNote'
            | 'provenance'
            | 'from'
            | 'packages'
            | 'place'
            | 'card'
            | 'shadows'
            | 'shell'
            | 'relax'
            | 'sensitivity'
            | 'repeatable'
            | 'cardNote'
            | 'limits'
            | 'ttlIsDefault'
          >
        : Part extends views.ApprovalView
          ? Since<Part, 'root'>
          : Part extends guard.AlertView
            ? Since<Part, 'lastsMs'>
            : Part extends guard.ModeView
              ? Since<
                  Part,
                  | 'held'
                  | 'drill'
                  | 'canary'
                  | 'room'
                  | 'stuck'
                  | 'auditWaiting'
                  | 'forwarding'
                  | 'stopping'
                  | 'components'
                >
              : Part extends readonly (infer Each)[]
                ? Taken<Each>[]
                : Part extends object
                  ? { [Key in keyof Part]: Taken<Part[Key]> }
                  : Part

export type TaskView = Taken<views.TaskView>
export type AttemptView = Taken<views.AttemptView>
export type { LateView } from '../protocol/views.ts'
export type SessionView = Taken<views.SessionView>
export type AgentView = Taken<views.AgentView>
export type AgentListing = Answered<'agent.list'>
export type ModeView = Taken<guard.ModeView>
/** From the hub, or from the watchdog alone, which knows neither tasks nor questions. */
export type HeartbeatView = Since<
  Answer<'operator.heartbeat'>,
  'dueInMs' | 'text' | 'zone' | 'conditions' | 'held' | 'questions'
>
/** What the watchdog says about the operator's presence; an older version says less. */
export type PresenceView = Since<
  NonNullable<Answer<'operator.show'>['presence']>,
  'zone' | 'weakAgeMs' | 'weakMostInMs' | 'quiet' | 'away' | 'stopped' | 'strongAgeMs' | 'due' | 'stopReport'
>
export type StoppedContainer = guard.StoppedContainer
/** `path`: who stopped everything. */
export type StopView = Omit<guard.StopView, 'path'> & { path: string }
export type AuditRecord = Answer<'audit.list'>['records'][number]
/** Of a check of the whole log that still runs. */
export type AuditProgress = Extract<Answer<'audit.verify'>, { ok: null }>
export type AuditVerdict = Omit<Exclude<Answer<'audit.verify'>, { ok: null }>, 'witness'> & {
  /** Null from an earlier hub, which did not ask the watchdog. */
  witness: Exclude<Answer<'audit.verify'>, { ok: null }>['witness'] | null
}
export type KeyView = Answer<'keys.list'>['keys'][number]
/** From the hub, or from the command if the hub is dead. */
export type CheckView = Omit<guard.DoctorCheck, 'mend'> & { mend: string | null }
export type ArtifactView = Answer<'artifact.list'>['artifacts'][number]
export type ApprovalView = Taken<views.ApprovalView>
/** A device or a token. */
export type DeviceView = guard.CredentialView
/** `whose`: `watchdog` for the watchdog's own alerts, which have no id. */
export type AlertView = Taken<guard.AlertView> & { whose?: string }
export type AlertTestView = Answer<'alert.test'>
/** The watchdog sends fewer keys. */
export type ChannelTestView = Partial<AlertTestView['hub'][number]> & { ok: boolean }
export type HardeningView = NonNullable<Answer<'session.show'>['hardening']>
export type DrillView = Answer<'hub.drill'>
export type Pruned = Omit<Answer<'retention.show'>, 'atLeast'>
export type Quarantined = Answer<'session.quarantine'>
export type TurnView = Answer<'session.turns'>['turns'][number]
export type EvidenceView = Answer<'session.evidence'>['evidence'][number]
export type OpenedConsole = Answer<'console.open'>
export type CardMade = Answer<'contact.card'>
/** What the watchdog knows about the contact. */
export type ContactAtWatchdog = CardMade['watchdog']

/** What the command can ask the hub for. */
export type Asked = ServedName & AnsweredName
interface Less {
  'task.show': Since<Taken<Answer<'task.show'>>, 'turns'>
  'session.show': Since<Taken<Answer<'session.show'>>, 'turns' | 'closing'>
  'agent.show': Since<Taken<Answer<'agent.show'>>, 'row' | 'lacks'>
  'agent.list': Since<Taken<Answer<'agent.list'>>, 'shadowed'>
  'agent.reload': Since<Taken<Answer<'agent.reload'>>, 'shadowed'>
  'operator.heartbeat': HeartbeatView
  'operator.away': HeartbeatView
  'operator.back': HeartbeatView
  'audit.verify': AuditProgress | AuditVerdict
  /** Of before its cleaning was known by name, and without what was left out. */
  'backup.run': Since<Answer<'backup.run'>, 'leftOut'>
}
/** What an operation answers, as any hub that may run now does. */
export type Answered<Name extends Asked> = Name extends keyof Less ? Less[Name] : Taken<Answer<Name>>
