/** Who hears of it when a task or a session moves: the event feed, a waiting parent, the loops, the breaker. */
import type { Events } from '../guard/events.ts'
import { taskMachine } from '../protocol/task.ts'
import type { TaskListener } from '../work/dispatch/moves.ts'
import type { TaskRow } from '../work/dispatch/rows.ts'

export function createTaskListener(parts: {
  events: Events
  recycling: TaskListener['recycling']
  /** A child task has ended: its parent hears. */
  answer: (child: TaskRow) => void
  /** A loop's attention may be needed now. */
  onDue: () => void
}): TaskListener {
  const { events, recycling, answer, onDue } = parts
  return {
    taskChanged(task) {
      const ended = taskMachine.isTerminal(task.state)
      const type = ended
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
      if (ended) answer(task)
      onDue()
    },
    sessionChanged(session) {
      if (session.state === 'recycled')
        events.publish('hub.session.ended.v1', `session:${session.id}`, {
          agent: session.agent,
          task: session.task,
          exit: session.exitReason,
        })
      if (session.state === 'recycling' || session.state === 'recycled') onDue()
    },
    recycling,
  }
}
