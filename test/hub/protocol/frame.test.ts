import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Direction, directionKey, FRAME_TYPES, openFrame, sealFrame } from '../../../hub/protocol/frame.ts'

const secret = randomBytes(32)
const directions: Direction[] = ['agent-to-hub', 'hub-to-agent']
const keyOf = (direction: Direction) => directionKey(secret, direction)
const frames = fc.record({
  direction: fc.constantFrom(...directions),
  type: fc.constantFrom(...Object.values(FRAME_TYPES)),
  sequence: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  text: fc.string({ unit: 'grapheme', maxLength: 300 }),
})

describe('the frame, for whatever is put into it', () => {
  it('opens to exactly what was sealed, by the same direction, key and sequence', () => {
    fc.assert(
      fc.property(frames, ({ direction, type, sequence, text }) => {
        const sealed = sealFrame(keyOf(direction), direction, type, sequence, text)
        const opened = openFrame(keyOf(direction), direction, sequence, sealed)
        expect(opened).toEqual({ type, body: Buffer.from(text) })
      }),
    )
  })

  it('opens to nothing once any bit is flipped, any byte cut off or added (T10)', () => {
    fc.assert(
      fc.property(
        frames,
        fc.nat(),
        fc.constantFrom('flip', 'cut', 'add'),
        ({ direction, type, sequence, text }, place, how) => {
          const sealed = sealFrame(keyOf(direction), direction, type, sequence, text)
          const bit = place % (sealed.length * 8)
          const flipped = Buffer.from(sealed)
          flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
          const bad = {
            flip: flipped,
            cut: sealed.subarray(0, sealed.length - 1),
            add: Buffer.concat([sealed, Buffer.from([place & 255])]),
          }[how]
          expect(openFrame(keyOf(direction), direction, sequence, bad)).toHaveProperty('fault')
        },
      ),
    )
  })

  it('opens to nothing in the other direction, under another key, or at another place of the sequence (T10)', () => {
    fc.assert(
      fc.property(frames, fc.integer({ min: 1, max: 1000 }), ({ direction, type, sequence, text }, off) => {
        const other = direction === 'agent-to-hub' ? 'hub-to-agent' : 'agent-to-hub'
        const sealed = sealFrame(keyOf(direction), direction, type, sequence, text)
        expect(openFrame(keyOf(other), other, sequence, sealed)).toEqual({ fault: 'wrong tag' })
        expect(openFrame(keyOf(direction), other, sequence, sealed)).toEqual({ fault: 'wrong tag' })
        expect(openFrame(directionKey(randomBytes(32), direction), direction, sequence, sealed)).toEqual({
          fault: 'wrong tag',
        })
        expect(openFrame(keyOf(direction), direction, sequence + off, sealed)).toEqual({ fault: 'wrong sequence' })
      }),
    )
  })
})
