/** The paths in a layer, from the heads of its archive. */
import type { Layer } from '../../scripts/images/archive.ts'

const textAt = (head: Buffer, start: number, end: number) =>
  head.subarray(start, end).toString('latin1').replace(/\0.*$/s, '')

export const pathsIn = ({ pieces }: Layer): string[] =>
  [...pieces]
    .filter((piece) => piece.subarray(257, 262).toString() === 'ustar')
    .map((head) => [textAt(head, 345, 500), textAt(head, 0, 100)].filter((part) => part !== '').join('/'))
