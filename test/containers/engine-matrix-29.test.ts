/** The matrix on Docker 29, its images in containerd. */
import { runMatrixOn } from '../support/engine-matrix.ts'

runMatrixOn('29', 'Docker 29, images in containerd')
