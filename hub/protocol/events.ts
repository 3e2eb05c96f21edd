/** Every event the hub publishes: immutable facts, CloudEvents attribute names, with numbers that rise over every start of the hub. */

export const EVENT_TYPES = [
  'hub.task.queued.v1',
  'hub.task.running.v1',
  'hub.task.progress.v1',
  'hub.task.log.v1',
  'hub.task.asked.v1',
  'hub.task.completed.v1',
  'hub.session.started.v1',
  'hub.session.ended.v1',
  'hub.message.refused.v1',
  'hub.agent.crashed.v1',
  'hub.agent.halted.v1',
  'hub.agent.image_changed.v1',
  'hub.artifact.quarantined.v1',
  'hub.mode.changed.v1',
  'hub.alert.raised.v1',
  'hub.alert.resolved.v1',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

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
