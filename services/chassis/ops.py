"""`camino.ops.v1` on every service: its dead letters."""

from __future__ import annotations

from camino.ops.v1 import dead_letter_pb2, dead_letter_service_pb2, dead_letter_service_pb2_grpc

from services.chassis.dead_letters import DeadLetters
from services.chassis.server import Mounted
from services.chassis.wire import timestamp


class DeadLetterServicer(dead_letter_service_pb2_grpc.DeadLetterServiceServicer):
    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters

    async def ListDeadLetters(
        self, request: dead_letter_service_pb2.ListDeadLettersRequest, context: object
    ) -> dead_letter_service_pb2.ListDeadLettersResponse:
        page, total = await self._dead_letters.list(request.page_size or 100, request.page_token)
        return dead_letter_service_pb2.ListDeadLettersResponse(
            dead_letters=[
                dead_letter_pb2.DeadLetter(
                    dead_letter_id=letter.id,
                    consumer=letter.body["consumer"],
                    subject=letter.body["subject"],
                    reason=letter.body["reason"],
                    create_time=timestamp(letter.body["at"]),
                    redrive_count=letter.body["redrives"],
                )
                for letter in page.documents
            ],
            next_page_token=page.next,
            total_size=total,
        )

    async def RedriveDeadLetter(
        self, request: dead_letter_service_pb2.RedriveDeadLetterRequest, context: object
    ) -> dead_letter_service_pb2.RedriveDeadLetterResponse:
        reason = await self._dead_letters.redrive(request.dead_letter_id)
        return dead_letter_service_pb2.RedriveDeadLetterResponse(handled=not reason, reason=reason)


def mounted(dead_letters: DeadLetters) -> Mounted:
    return Mounted(
        dead_letter_service_pb2_grpc.add_DeadLetterServiceServicer_to_server,
        DeadLetterServicer(dead_letters),
        "camino.ops.v1.DeadLetterService",
    )
