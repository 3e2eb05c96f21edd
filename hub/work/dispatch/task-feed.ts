/** Tells the event feed when a task or a session moves. */
import type { Events } from '../../guard/events.ts'
import { taskMachine } from '../../protocol/task.ts'
import type { TaskListener } from './moves.ts'

export const taskFeed = (events: Events): TaskListener => ({
  taskChanged(task) {
    const type = taskMachine.isTerminal(task.state)
      ? 'hub.task.completed.v1'
      : task.state === 'queued'
        ? 'hub.task.queued.v1'
        : 'hub.task.running.v1'
    events.publish(type, `task:${task.id}`, {
      task: task.id,
      state: task.state,
      agent: task.agent,
      parent: task.parent,
      attempts: task.attempts,
      error: task.error,
    })
  },
  sessionChanged(session) {
    if (session.state === 'recycled')
      events.publish('hub.session.ended.v1', `session:${session.id}`, {
        agent: session.agent,
        task: session.task,
        exit: session.exitReason,
      })
  },
})
