"""Conditions: YAML such as `{title: {has_word: [vp, head]}, not: {email.kind: free}}` as a typed tree.

`{field: value}` tests for equality, `{field: {op: value}}` applies an operator. Several keys must all hold; `all:`, `any:`
and `not:` combine conditions. An empty mapping always holds. The compiler is `firsthour.kernel.conditions.evaluation`.
"""
