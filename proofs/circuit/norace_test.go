//go:build !race

package circuit

// raceDetector is set when the tests run with it, ten times slower.
const raceDetector = false
