package cpu_test

import (
	"testing"

	"quarry/proofs/kernel/cpu"
	"quarry/proofs/kernel/kerneltest"
)

func TestCPUConforms(t *testing.T) { kerneltest.Run(t, cpu.Set(), kerneltest.Options{}) }
