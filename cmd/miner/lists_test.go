package main

import (
	"testing"

	"quarry/internal/clitest"
)

func TestListsHaveJSON(t *testing.T) { clitest.ListsHaveJSON(t, newApp(nil), 10) }
