"""Every event of FirstHour, frozen, in the past tense, in the order of a lead's life.

An event is the `data` of a CloudEvents envelope (`schemas.envelope`), whose `type` names its class. Times are
timezone-aware UTC. Facts about a person are one flat dict (`{"company.employees": 400}`), the form that conditions read.
New fields are optional and have a default; a change that an older reader would misread needs a new major version
(`schemas.envelope.MAJOR`).
"""
