"""The published report: what it holds, its pages, where its numbers come from, and the README's part of it."""
