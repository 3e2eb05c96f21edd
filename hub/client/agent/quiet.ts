/** A program that says nothing is asked before it is ended (docs/agents.md): by its one handler, if it has one. */
export interface QuietNote {
  /** What the hub found, in words. */
  why: string
}
/** False says that the program cannot hear it. */
export type QuietHandler = (note: QuietNote) => unknown

/** `onFault`: what the handler threw, which changes nothing else. */
export function createQuietNotes(onFault: (thrown: unknown) => void) {
  let handler: QuietHandler | undefined
  return {
    /** A later handler takes the place of an earlier one. */
    on(given: QuietHandler): void {
      handler = given
    },
    /** Whether the program was asked. */
    tell(note: QuietNote): boolean {
      if (handler === undefined) return false
      try {
        const heard = handler(note)
        Promise.resolve(heard).catch(onFault)
        return heard !== false
      } catch (thrown) {
        onFault(thrown)
        return true
      }
    },
  }
}
