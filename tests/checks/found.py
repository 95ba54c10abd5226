"""Parts of findings, which the tests of the checks compare."""


def codes(findings):
    return [finding.code for finding in findings]


def levels(findings):
    return [(finding.level, finding.code) for finding in findings]
